"""`swarm validate`: an experiment, and every point of its sweep, checked without starting anything."""

from __future__ import annotations

from pathlib import Path

from swarm.commands.planned_load import check_load
from swarm.config.read import read_experiment, read_points
from swarm.fleet.build import build_fleet
from swarm.live.targets.usable import check_target
from swarm.units import counted
from swarm.workload.source import check_source


def validate(path: Path, changes: list[str]) -> int:
    """Check an experiment's file and say what it is; return the exit code."""
    experiment = read_experiment(path, changes)
    points = read_points(path, changes)
    for each in [point.experiment for point in points] if points else [experiment]:
        build_fleet(each.fleet)
        check_target(each.target)
        check_source(each.workload, each.seed)
        check_load(each)
    of = f", {counted(len(points), 'point')}" if points else ""
    print(f"{path}: valid ({experiment.name}, seed {experiment.seed}{of})")
    return 0
