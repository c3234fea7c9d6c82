"""What a fleet's memories hold and have moved, tier by tier."""

from __future__ import annotations

from swarm.fleet.fleet import Fleet
from swarm.hit_names import TIERS
from swarm.kvcache.tier import Tier
from swarm.records.tier_looks import TierState


def tier_states(fleet: Fleet) -> tuple[TierState, ...]:
    """Return the state of each tier, the fastest first; instances of replicas and nodes are added up."""
    block_bytes = fleet.ranks[0].hierarchy.rules.block_bytes
    every = {id(tier): tier for rank in fleet.ranks for tier in rank.hierarchy.tiers}
    by_name: dict[str, list[Tier]] = {}
    for tier in every.values():
        by_name.setdefault(tier.spec.name, []).append(tier)
    return tuple(_state(name, by_name[name], block_bytes) for name in TIERS if name in by_name)


def _state(name: str, tiers: list[Tier], block_bytes: int) -> TierState:
    capacities = [tier.capacity_blocks for tier in tiers]
    known = [blocks for blocks in capacities if blocks is not None]
    return TierState(
        tier=name,
        capacity_bytes=sum(known) * block_bytes if len(known) == len(capacities) else None,
        held_bytes=sum(tier.cached_blocks + tier.reserved for tier in tiers) * block_bytes,
        used_bytes=max(0, sum(tier.runs.pinned + tier.reserved for tier in tiers)) * block_bytes,
        read_bytes=sum(tier.counters.read_bytes for tier in tiers),
        written_bytes=sum(tier.counters.written_bytes for tier in tiers),
        dropped_bytes=sum(tier.counters.dropped_bytes for tier in tiers),
    )
