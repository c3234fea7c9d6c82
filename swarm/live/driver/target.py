"""The target of a run, made ready before its hosts are."""

from __future__ import annotations

import asyncio

from swarm.config.experiment import Experiment
from swarm.config.target import TargetConfig
from swarm.live.driver.launcher import Launcher
from swarm.live.driver.placement import fleet_shares
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.control import resolve
from swarm.live.targets.token_length import measured


def with_target(experiment: Experiment, launcher: Launcher) -> Experiment:
    """Return the experiment with its target resolved; the emulated fleet is started where it names none."""
    target = experiment.target
    if not target.urls:
        urls = launcher.start_fronts(fleet_shares(experiment.fleet, experiment.hosts.provider_fronts))
        target = target.model_copy(
            update={"urls": urls, "bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0}
        )
    return experiment.model_copy(update={"target": asyncio.run(_asked(target))})


async def _asked(target: TargetConfig) -> TargetConfig:
    """Return the target with what its servers say of themselves: their model, their tokens."""
    return await measured(await resolve(target))
