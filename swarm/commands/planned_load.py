"""A load planned before anything is started, to refuse what cannot be."""

from __future__ import annotations

from swarm.config.experiment import Experiment
from swarm.config.load import RecordedShape
from swarm.load.pacing import pacing_of
from swarm.workload.source import Material, load_scripts, open_source


def check_load(experiment: Experiment, material: Material | None = None) -> None:
    """Plan the load; recorded arrivals take a look at all sessions, which are read where none are given.

    Raises:
        ConfigError: It cannot be planned: too many sessions would arrive, or none was recorded to.
    """
    if material is None and isinstance(experiment.load.shape, RecordedShape):
        material = load_scripts(experiment.workload, experiment.seed, experiment.load.agents)
    if material is None:
        pacing_of(experiment.load, None, experiment.seed, ())
        return
    source = open_source(experiment.workload, experiment.seed, material)
    pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
