"""Batches that leave over a high watermark, and leases, as Mooncake's store evicts.

From its documentation and `BatchEvict` (2026): an object that was read, or found to be there, has a lease and
stays. Over the watermark a part of the objects leaves, by the end of their leases; a written one counts from
its writing. Soft-pinned ones leave when too few others could. What leases keep out is not written.
"""

from __future__ import annotations

import math

from swarm.context.tree import Node
from swarm.kvcache.blocks import Piece, Use
from swarm.kvcache.ordered import OrderedTier, RootFirst
from swarm.kvcache.runs import Runs
from swarm.kvcache.tier import TierSpec

MICROSECONDS = 1e6


class WatermarkTier(OrderedTier):
    """Lets go of batches; ranks are the ends of leases."""

    __slots__ = ("gone", "rule", "soft")

    def __init__(self, spec: TierSpec) -> None:
        super().__init__(spec)
        assert spec.policy.watermark is not None, "a watermark tier has its numbers"
        self.rule = spec.policy.watermark
        self.is_ordered = True
        self.soft = RootFirst(is_queued=True)
        """Of `order`, what is soft-pinned; the two share no block."""
        self.gone: list[Piece] = []
        """Evicted while a write landed."""

    def make_room(self, blocks: int, now_s: float) -> list[Piece]:
        """Return what left while a write landed: that is when batches leave."""
        gone, self.gone = self.gone, []
        return gone

    def note_use(self, node: Node, start: int, end: int, use: Use) -> None:
        """Let `use` be the last use of what is held of blocks [start, end), and lease it."""
        for low, high, known in self.runs.within(node, start, end):
            if known.sequence < use.sequence:
                self.runs.paint(node, low, high, use, fill=False)
                self._lease(node, low, high, use)

    def clear(self) -> None:
        """Let go of everything, leased or not."""
        super().clear()
        self.soft = RootFirst(is_queued=True)

    def ranked(self) -> list[Runs]:
        """Return what records the order."""
        return [self.order, self.soft]

    def _ranks_held(self) -> int:
        """Return about how many ranks have blocks, or had some lately."""
        return super()._ranks_held() + len(self.soft.queue) - self.soft.first

    def _prune(self) -> None:
        """Forget ranks that are in no queue."""
        super()._prune()
        self.ranks.update((rank.sequence, rank) for rank in self.soft.queue[self.soft.first :])

    def _forget(self, node: Node, start: int, end: int) -> None:
        """Blocks are no longer evicted by rank."""
        self.order.take(node, start, end)
        self.soft.take(node, start, end)

    def _hold(self, node: Node, start: int, end: int, use: Use, now_s: float) -> None:
        """Hold blocks that it has not held, up to the watermark and then one by one between batches."""
        capacity = self.capacity_blocks
        if capacity is None:
            self._insert(node, start, end, use, now_s)
            return
        while start < end:
            if self.runs.held == capacity:
                self._evict_batch(capacity, now_s)
                if self.runs.held == capacity:
                    self.refused.append((node, start, end, use))
                    return
            over = math.floor(self.rule.high_ratio * capacity) + 1 - self.runs.held
            stop = min(end, start + max(1, min(over, capacity - self.runs.held)))
            self._insert(node, start, stop, use, now_s)
            start = stop
            if self.runs.held > self.rule.high_ratio * capacity:
                self._evict_batch(capacity, now_s)

    def _insert(self, node: Node, start: int, end: int, use: Use, now_s: float) -> None:
        rank = self._rank(round(now_s * MICROSECONDS), use, now_s)
        bound = min(max(start, self.rule.soft_pin_blocks), end)
        if start < bound:
            self.soft.paint(node, start, bound, rank, fill=True)
        if bound < end:
            self.order.paint(node, bound, end, rank, fill=True)
        super()._hold(node, start, end, use, now_s)

    def _lease(self, node: Node, start: int, end: int, use: Use) -> None:
        """Keep blocks for a while from a use on; a soft pin that has lapsed begins again."""
        until_s = use.at_s - use.kept_s + self.rule.lease_s
        rank = self._rank(round(until_s * MICROSECONDS), use, until_s)
        bound = min(max(start, self.rule.soft_pin_blocks), end)
        if start < bound:
            self.soft.paint(node, start, bound, rank, fill=False)
            for low, high, _ in self.order.within(node, start, bound):
                self.order.take(node, low, high)
                self.soft.paint(node, low, high, rank, fill=True)
        if bound < end:
            self.order.paint(node, bound, end, rank, fill=False)

    def _evict_batch(self, capacity: int, now_s: float) -> None:
        """Let a part of the blocks go whose leases have ended; soft-pinned ones if too few others do."""
        rule, held = self.rule, self.runs.held
        over = held / capacity - rule.high_ratio
        part = max(rule.evict_ratio, over + rule.evict_ratio)
        target = math.ceil(held * part)
        least = math.ceil(held * max(part * 0.5, over))
        for node, start, end, rank in self.soft.expire(now_s, rule.soft_pin_s):
            self.order.paint(node, start, end, rank, fill=True)
        self.gone += self._let_go(self.order.evict_until(target, now_s))
        left = least - (held - self.runs.held)
        if left > 0:
            self.gone += self._let_go(self.soft.evict_until(left, now_s))
