"""How many actors, and where: hosts, provider fronts. Decided from numbers alone."""

from __future__ import annotations

import math

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError
from swarm.live.driver.host_cost import CORE_SHARE, HostCost


def host_count(experiment: Experiment, slots: int, cpus: int, cost: HostCost) -> int:
    """Return how many hosts share the slots: as asked for, else as many as their work keeps busy.

    Without a word of the experiment's there is one host less than the cluster has CPUs, at most.
    """
    hosts = experiment.hosts
    if hosts.count is not None:
        return min(hosts.count, slots)
    if hosts.agents_per_host is not None:
        return math.ceil(slots / hosts.agents_per_host)
    return max(1, min(cpus - 1, slots, hosts_needed(experiment, cost)))


def hosts_needed(experiment: Experiment, cost: HostCost) -> int:
    """Return how many hosts it takes so that each event loop is in time, and has connections enough."""
    by_cores = cost.cores / CORE_SHARE
    by_connections = cost.agents / experiment.target.limits.connections_max
    return max(1, math.ceil(max(by_cores, by_connections)))


def fleet_shares(fleet: FleetConfig, fronts: int) -> tuple[FleetConfig, ...]:
    """Return the fleet cut into one for each front: each with its share of every group and shared tier.

    A session keeps to one front, so caches that replicas share are cut as well.
    """
    for group in fleet.replicas:
        if group.count < fronts:
            raise ConfigError(
                f"hosts.provider_fronts: {fronts} fronts, but a group of the fleet has only {group.count} "
                f"replicas of role {group.role!r}; raise fleet.replicas or lower the fronts"
            )
    if fronts == 1:
        return (fleet,)
    return tuple(_share(fleet, front, fronts) for front in range(fronts))


def _share(fleet: FleetConfig, front: int, fronts: int) -> FleetConfig:
    groups = tuple(
        group.model_copy(update={"count": group.count // fronts + (front < group.count % fronts)})
        for group in fleet.replicas
    )
    tiers = []
    for tier in fleet.tiers:
        if tier.scope == "cluster":
            sizes = ("capacity_gib", "capacity_gb", "read_gib_per_s", "write_gib_per_s", "write_queue_gib")
            counts = ("capacity_tokens", "capacity_blocks")
            known = {name: getattr(tier, name) for name in (*sizes, *counts)}
            tier = tier.model_copy(
                update={
                    name: max(1, value // fronts) if name in counts else value / fronts
                    for name, value in known.items()
                    if value is not None
                }
            )
        tiers.append(tier)
    return fleet.model_copy(update={"replicas": groups, "tiers": tuple(tiers)})
