"""How one tier chooses what to hold: its eviction, what it never evicts, what it is written, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EvictionName = Literal["lru", "fifo", "watermark"]
WriteMode = Literal["write_through", "write_through_selective", "write_back"]


@dataclass(frozen=True, slots=True)
class Watermark:
    """Batches that leave a tier, as Mooncake's store evicts."""

    high_ratio: float
    """A batch leaves when more of the capacity than this is held."""
    evict_ratio: float
    """Part of the blocks held that leaves at least."""
    lease_s: float
    """A block that was read, or found to be there, stays for so long."""
    soft_pin_blocks: int
    """So many blocks of each path's beginning leave after all others."""
    soft_pin_s: float
    """Until so long after their lease has ended."""


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """What a tier holds, and in which order it lets go."""

    eviction: EvictionName
    watermark: Watermark | None
    """Of a tier with that eviction alone."""
    pin_blocks: int
    """So many blocks of each path's beginning are never evicted, nor expire, as far as `pin_limit` goes."""
    pin_limit: int
    """The most blocks that are held so."""
    write: WriteMode
    write_threshold: int
    """Uses of a block in HBM before a selective tier is written it; its computation is the first."""


WRITE_THROUGH = TierPolicy("lru", None, 0, 0, "write_through", 1)
"""LRU; written when a request ends, and what is evicted above and lacking."""
WRITE_BACK = TierPolicy("lru", None, 0, 0, "write_back", 1)
"""LRU; written what is evicted above and lacking."""
