"""`swarm validate`: an experiment, and every point of its sweep, checked without starting anything."""

from __future__ import annotations

from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.config.load import RecordedShape
from swarm.config.read import read_experiment, read_points
from swarm.config.workload import ReplayConfig
from swarm.fleet.build import build_fleet
from swarm.live.targets.usable import check_target
from swarm.load.pacing import pacing_of
from swarm.urls import is_url
from swarm.workload.source import Material, check_source, load_scripts, open_source


def validate(path: Path, changes: list[str]) -> int:
    """Check an experiment's file and say what it is; return the exit code."""
    experiment = read_experiment(path, changes)
    points = read_points(path, changes)
    read: dict[str, Material] = {}
    for each in [point.experiment for point in points] if points else [experiment]:
        build_fleet(each.fleet)
        check_target(each.target)
        _check_load(each, _material(each, read))
    of = f", {len(points)} points" if points else ""
    print(f"{path}: valid ({experiment.name}, seed {experiment.seed}{of})")
    return 0


def _material(experiment: Experiment, read: dict[str, Material]) -> Material | None:
    """Return the recorded sessions, read whole as a run reads them; each file once for all points.

    None where there are none, or they are on a network.
    """
    workload = experiment.workload
    if not isinstance(workload, ReplayConfig) or is_url(str(workload.path)):
        check_source(workload, experiment.seed)
        return None
    key = f"{workload.path}\0{workload.format}\0{workload.on_broken}\0{workload.sessions_max}"
    if key not in read:
        read[key] = load_scripts(workload, experiment.seed, experiment.load.agents)
    return read[key]


def _check_load(experiment: Experiment, material: Material | None) -> None:
    """Plan the load; recorded arrivals take a look at all sessions."""
    if material is None:
        if isinstance(experiment.load.shape, RecordedShape):
            material = load_scripts(experiment.workload, experiment.seed, experiment.load.agents)
        else:
            pacing_of(experiment.load, None, experiment.seed, ())
            return
    source = open_source(experiment.workload, experiment.seed, material)
    pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
