"""Links over which all tiers of a rank or a node are reached: PCIe, the host's side, network cards."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.fleet import ReplicaGroupConfig
from swarm.config.transfers import LinksConfig
from swarm.units import GIB

PAPER_SHARE = 0.8
"""Of what PCIe moves on paper, what large copies move: 50 of 64 GB/s on H100 (vLLM blog 2026-01-08), 54 of 64
on H20 (agentic-kvc)."""
Crossed = list[tuple[str, float | None]]
"""Pipes by name, with the GiB/s of each; None: no limit."""


@dataclass(frozen=True, slots=True)
class RankPlace:
    """One replica: where it is, and of what group."""

    replica: int
    node: int
    group: ReplicaGroupConfig
    first_rank: int
    host_bytes_per_s: float | None = None
    """Of one GPU's PCIe, as on paper, where the GPU is known."""


class Links:
    """Names the shared links that a copy crosses; both directions are one pipe where they share it."""

    def __init__(self, config: LinksConfig) -> None:
        self._config = config

    def crossed(
        self,
        place: RankPlace,
        rank: int,
        *,
        kv_shards: float,
        leaves_node: bool,
        direction: str,
        assumes_pcie: bool,
    ) -> Crossed:
        """Return what a copy to (in) or from (out) the HBM of a rank crosses."""
        config = self._config
        gpu_gib_per_s = self._gpu_gib_per_s(place, assumes_pcie)
        if gpu_gib_per_s is not None:
            gpu_gib_per_s *= kv_shards
        crossed = [
            *self._one(f"pcie {place.replica}.{rank}", direction, gpu_gib_per_s),
            *self._one(f"host {place.node}", direction, config.node_gib_per_s),
        ]
        if leaves_node:
            crossed += self._one(f"nic {place.node}", direction, config.nic_gib_per_s)
        return crossed

    def least_bytes_per_s(self, place: RankPlace, *, leaves_node: bool, assumes_pcie: bool) -> float | None:
        """Return the least rate known of the links that a copy crosses, for one GPU; None: there is none."""
        config = self._config
        gpu_gib_per_s = self._gpu_gib_per_s(place, assumes_pcie)
        stated = [gpu_gib_per_s, config.node_gib_per_s, config.nic_gib_per_s if leaves_node else None]
        return min((rate * GIB for rate in stated if rate is not None), default=None)

    def between(self, sender_node: int, receiver_node: int) -> Crossed:
        """Return what KV from one node to another crosses."""
        if sender_node == receiver_node:
            return []
        rate = self._config.nic_gib_per_s
        return [*self._one(f"nic {sender_node}", "out", rate), *self._one(f"nic {receiver_node}", "in", rate)]

    def _gpu_gib_per_s(self, place: RankPlace, assumes_pcie: bool) -> float | None:
        """Return what one GPU's host link moves: as stated, else what the GPU can if that is asked."""
        stated = self._config.gpu_gib_per_s
        if stated is None and assumes_pcie and place.host_bytes_per_s is not None:
            return PAPER_SHARE * place.host_bytes_per_s / GIB
        return stated

    def _one(self, name: str, direction: str, gib_per_s: float | None) -> Crossed:
        return both_ways(name, direction, gib_per_s, gib_per_s, self._config.both_ways)


def both_ways(
    name: str, direction: str, gib_per_s: float | None, most_gib_per_s: float | None, share: float
) -> Crossed:
    """Return one direction of a link, and below 2 what both share: `share` times the faster direction."""
    crossed: Crossed = [(f"{name} {direction}", gib_per_s)]
    if share < 2.0 and most_gib_per_s is not None:
        crossed.append((f"{name} both", share * most_gib_per_s))
    return crossed
