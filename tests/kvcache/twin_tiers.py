"""Tiers that keep every block by itself, a class a policy, to hold the caches on stretches against."""

from __future__ import annotations

import math

from swarm.context.tree import Node
from swarm.kvcache.blocks import PERMANENT
from swarm.kvcache.tier import TierSpec

Block = tuple[Node, int]
Last = tuple[int, float]
"""The sequence number and the time of a block's last use."""

FOREVER: Last = (PERMANENT.sequence, math.inf)


class TwinTier:
    """Least recent use first, deepest first within a use."""

    def __init__(self, spec: TierSpec) -> None:
        self.spec = spec
        self.last: dict[Block, Last] = {}
        self.coming: dict[Block, Last] = {}
        self.permanent: set[Block] = set()
        self.hits = self.inserted = self.expired = self.evicted = self.promoted = 0
        self.offered = self.landed = self.dropped = 0

    def keeps(self, last: Last, now_s: float) -> bool:
        return self.spec.ttl_s is None or last[1] + self.spec.ttl_s >= now_s

    def note_use(self, block: Block, last: Last) -> None:
        self.last[block] = max(self.last[block], last)

    def room(self, taken: int) -> float:
        return math.inf if self.spec.capacity_blocks is None else self.spec.capacity_blocks - taken

    def begin_landing(self) -> None:
        """A write has come."""

    def land(self, block: Block, last: Last, now_s: float) -> bool:
        """Hold a block; False where there is no room for it."""
        assert block not in self.last
        self.last[block] = last
        self.inserted += 1
        policy = self.spec.policy
        if block[1] < policy.pin_blocks and len(self.permanent) < policy.pin_limit:
            self.permanent.add(block)
            self.last[block] = FOREVER
        return True

    def remove(self, block: Block) -> Last:
        self.permanent.discard(block)
        return self.last.pop(block)

    def victims(self, blocks: int, taken: int, pinned: set[Block], now_s: float) -> dict[Block, Last]:
        """Evict until so many blocks fit, as far as there is anything to evict."""
        gone = {}
        while self.room(len(self.last) + taken) < blocks:
            free = [b for b in self.last if b not in pinned | self.permanent]
            if not free:
                break
            victim = min(free, key=self.place)
            gone[victim] = self.remove(victim)
            self.evicted += 1
        return gone

    def place(self, block: Block) -> tuple[int, ...]:
        """Return a block's place in the order of eviction."""
        return self.last[block][0], -block[1]


class TwinFifo(TwinTier):
    """First landed first; within a write by last use, root first."""

    def __init__(self, spec: TierSpec) -> None:
        super().__init__(spec)
        self.landings = 0
        self.landing: dict[Block, tuple[int, int]] = {}

    def begin_landing(self) -> None:
        self.landings += 1

    def land(self, block: Block, last: Last, now_s: float) -> bool:
        self.landing[block] = self.landings, last[0]
        return super().land(block, last, now_s)

    def place(self, block: Block) -> tuple[int, ...]:
        return *self.landing[block], block[1]


class TwinWatermark(TwinTier):
    """Batches of what has no lease."""

    def __init__(self, spec: TierSpec) -> None:
        super().__init__(spec)
        assert spec.policy.watermark is not None
        self.rule = spec.policy.watermark
        self.lease: dict[Block, tuple[float, int]] = {}
        """Its end, and the number of the use that it is of."""
        self.gone: dict[Block, Last] = {}

    def note_use(self, block: Block, last: Last) -> None:
        if last > self.last[block]:
            self.last[block] = last
            self.lease[block] = last[1] + self.rule.lease_s, last[0]

    def land(self, block: Block, last: Last, now_s: float) -> bool:
        capacity = self.spec.capacity_blocks
        if capacity is not None and len(self.last) == capacity:
            self.batch(capacity, now_s)
            if len(self.last) == capacity:
                return False
        self.lease[block] = now_s, last[0]
        super().land(block, last, now_s)
        if capacity is not None and len(self.last) > self.rule.high_ratio * capacity:
            self.batch(capacity, now_s)
        return True

    def batch(self, capacity: int, now_s: float) -> None:
        held = len(self.last)
        over = held / capacity - self.rule.high_ratio
        part = max(self.rule.evict_ratio, over + self.rule.evict_ratio)
        ended = sorted(
            (b for b in self.last if b not in self.permanent and self.lease[b][0] <= now_s),
            key=lambda b: (*self.lease[b], b[1]),
        )
        soft = [b for b in ended if self.is_soft(b, now_s)]
        others = [b for b in ended if b not in soft]
        leaving = others[: math.ceil(held * part)]
        short = math.ceil(held * max(part * 0.5, over)) - len(leaving)
        leaving += soft[: max(0, short)]
        for block in leaving:
            self.gone[block] = self.remove(block)
            self.evicted += 1

    def is_soft(self, block: Block, now_s: float) -> bool:
        lapses_s = self.lease[block][0] + self.rule.soft_pin_s
        return block[1] < self.rule.soft_pin_blocks and lapses_s >= now_s

    def victims(self, blocks: int, taken: int, pinned: set[Block], now_s: float) -> dict[Block, Last]:
        gone, self.gone = self.gone, {}
        return gone


TWINS: dict[str, type[TwinTier]] = {"lru": TwinTier, "fifo": TwinFifo, "watermark": TwinWatermark}


def twin_of(spec: TierSpec) -> TwinTier:
    return TWINS[spec.policy.eviction](spec)
