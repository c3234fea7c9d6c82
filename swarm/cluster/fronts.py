"""The emulated fleet of a run: one process, or several over the nodes with a share of the replicas each."""

from __future__ import annotations

from typing import Any

import ray

from swarm.cluster.actors import RemoteProvider
from swarm.cluster.placement import fleet_shares
from swarm.config.experiment import Experiment
from swarm.errors import RunError

START_S_MAX = 120.0
STOP_S_MAX = 10.0


class Fronts:
    """Starts a server for each share of the fleet, where the experiment names no target of its own."""

    def __init__(self, experiment: Experiment, here: Any) -> None:
        self.urls: tuple[str, ...] = ()
        self._actors: list[Any] = []
        if experiment.target.urls:
            return
        shares = fleet_shares(experiment.fleet, experiment.hosts.provider_fronts)
        where = here if len(shares) == 1 else "SPREAD"
        self._actors = [
            RemoteProvider.options(scheduling_strategy=where).remote()  # type: ignore[attr-defined]
            for _ in shares
        ]
        address = "127.0.0.1" if is_one_machine() else None
        starts = [
            actor.start.remote(share, address, 0) for actor, share in zip(self._actors, shares, strict=True)
        ]
        try:
            self.urls = tuple(ray.get(starts, timeout=START_S_MAX))
        except ray.exceptions.RayError as fault:
            text = str(fault).strip().splitlines() or [type(fault).__name__]
            raise RunError(f"the emulated fleet could not be started: {text[-1]}") from None

    def close(self) -> None:
        """End the servers."""
        for stop in [actor.stop.remote() for actor in self._actors]:
            try:
                ray.get(stop, timeout=STOP_S_MAX)
            except ray.exceptions.RayError:
                continue


def is_one_machine() -> bool:
    """Return whether all of the cluster's nodes have one address, so that loopback reaches every one."""
    return len({node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}) <= 1
