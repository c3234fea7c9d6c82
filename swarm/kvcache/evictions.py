"""Tiers by the name of their eviction."""

from __future__ import annotations

from swarm.kvcache.fifo import FifoTier
from swarm.kvcache.policy import EvictionName
from swarm.kvcache.tier import Tier, TierSpec
from swarm.kvcache.watermark import WatermarkTier

EVICTIONS: dict[EvictionName, type[Tier]] = {"lru": Tier, "fifo": FifoTier, "watermark": WatermarkTier}


def new_tier(spec: TierSpec) -> Tier:
    """Return an empty tier that evicts as its policy says."""
    return EVICTIONS[spec.policy.eviction](spec)
