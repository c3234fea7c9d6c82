"""Links over which all tiers of a rank or a node are reached: PCIe, the host's side, network cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swarm.config.fleet import ReplicaGroupConfig
from swarm.config.transfers import LinksConfig

Crossed = list[tuple[str, float | None]]
"""Pipes by name, with the GiB/s of each; None: no limit."""


@dataclass(frozen=True, slots=True)
class RankPlace:
    """One replica: where it is, and of what group."""

    replica: int
    node: int
    group: ReplicaGroupConfig


class Links:
    """Names the shared links that a copy crosses; both directions are one pipe where they share it."""

    def __init__(self, config: LinksConfig) -> None:
        self._config = config

    def crossed(
        self, place: RankPlace, rank: int, leaves_node: bool, direction: Literal["in", "out"]
    ) -> Crossed:
        """Return what a copy to (in) or from (out) the HBM of a rank crosses."""
        config, side = self._config, self._side(direction)
        crossed: Crossed = [
            (f"pcie {place.replica}.{rank}{side}", config.rank_gib_per_s),
            (f"host {place.node}{side}", config.node_gib_per_s),
        ]
        if leaves_node:
            crossed.append((f"nic {place.node}{side}", config.nic_gib_per_s))
        return crossed

    def between(self, sender_node: int, receiver_node: int) -> Crossed:
        """Return what KV from one node to another crosses."""
        if sender_node == receiver_node:
            return []
        rate = self._config.nic_gib_per_s
        return [
            (f"nic {sender_node}{self._side('out')}", rate),
            (f"nic {receiver_node}{self._side('in')}", rate),
        ]

    def _side(self, direction: str) -> str:
        return "" if self._config.half_duplex else f" {direction}"
