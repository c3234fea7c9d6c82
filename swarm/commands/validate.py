"""`swarm validate`: an experiment, and every point of its sweep, checked without starting anything."""

from __future__ import annotations

from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.config.load import RecordedShape
from swarm.config.read import read_experiment, read_fleet, read_mapping, read_points
from swarm.fleet.build import build_fleet
from swarm.live.targets.usable import check_target
from swarm.load.pacing import pacing_of
from swarm.workload.source import check_source, load_scripts, open_source


def validate(path: Path, changes: list[str]) -> int:
    """Check an experiment's file, or a fleet's, and say what it is; return the exit code."""
    if is_fleet(path):
        fleet = read_fleet(path, changes)
        build_fleet(fleet)
        print(f"{path}: valid (a fleet, {fleet.name}; no experiment)")
        return 0
    experiment = read_experiment(path, changes)
    points = read_points(path, changes)
    for each in [point.experiment for point in points] if points else [experiment]:
        build_fleet(each.fleet)
        check_target(each.target)
        check_source(each.workload, each.seed)
        _check_load(each)
    of = f", {len(points)} points" if points else ""
    print(f"{path}: valid ({experiment.name}, seed {experiment.seed}{of})")
    return 0


def is_fleet(path: Path) -> bool:
    """Whether a file holds a fleet, and no experiment."""
    data = read_mapping(path)
    return "workload" not in data and bool({"cost", "replicas", "tiers"} & set(data))


def _check_load(experiment: Experiment) -> None:
    """Plan the load; recorded arrivals take a look at all sessions."""
    arrivals_s: tuple[float, ...] = ()
    if isinstance(experiment.load.shape, RecordedShape):
        scripts = load_scripts(experiment.workload, experiment.seed, experiment.load.agents)
        arrivals_s = open_source(experiment.workload, experiment.seed, scripts).arrivals_s
    pacing_of(experiment.load, None, experiment.seed, arrivals_s)
