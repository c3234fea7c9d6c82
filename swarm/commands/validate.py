"""`swarm validate`: an experiment, and every point of its sweep, checked without starting anything."""

from __future__ import annotations

from pathlib import Path

from swarm.commands.planned_load import check_load
from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.read import read_experiment, read_fleet, read_mapping, read_points
from swarm.config.workload import ReplayConfig
from swarm.fleet.build import build_fleet
from swarm.fleet.memories import tier_configs
from swarm.fleet.tier_rules import in_words
from swarm.live.targets.usable import check_target
from swarm.units import counted
from swarm.urls import is_url
from swarm.workload.source import Material, check_source, load_scripts


def validate(path: Path, changes: list[str]) -> int:
    """Check an experiment's file, or a fleet's, and say what it is; return the exit code."""
    if is_fleet(path):
        fleet = read_fleet(path, changes)
        build_fleet(fleet)
        print(f"{path}: valid (a fleet, {fleet.name}; no experiment)")
        _tell_tiers(fleet)
        return 0
    experiment = read_experiment(path, changes)
    points = read_points(path, changes)
    read: dict[str, Material] = {}
    for each in [point.experiment for point in points] if points else [experiment]:
        build_fleet(each.fleet)
        check_target(each.target)
        check_load(each, _material(each, read))
    of = f", {counted(len(points), 'point')}" if points else ""
    print(f"{path}: valid ({experiment.name}, seed {experiment.seed}{of})")
    _tell_tiers(experiment.fleet)
    return 0


def _tell_tiers(fleet: FleetConfig) -> None:
    """Say how each tier evicts and is written, where there is more than plain HBM."""
    tiers = tier_configs(fleet)
    if len(tiers) > 1 or tiers[0].pinned is not None:
        for tier in tiers:
            print(f"  tier {in_words(tier)}")


def is_fleet(path: Path) -> bool:
    """Whether a file holds a fleet, and no experiment."""
    data = read_mapping(path)
    return "workload" not in data and bool({"cost", "replicas", "tiers"} & set(data))


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
