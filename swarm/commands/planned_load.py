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
    arrivals_s: tuple[float, ...] = ()
    if isinstance(experiment.load.shape, RecordedShape):
        if material is None:
            material = load_scripts(experiment.workload, experiment.seed, experiment.load.agents)
        arrivals_s = open_source(experiment.workload, experiment.seed, material).arrivals_s
    pacing_of(experiment.load, None, experiment.seed, arrivals_s)
