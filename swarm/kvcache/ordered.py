"""A tier that evicts by an order of its own, not by last uses.

It keeps its blocks twice: in `runs` with their last uses, by which they hit and expire, and in `order` with
their ranks in the eviction order. Of one rank the block nearest the root goes first, as it was written or
read first; so parents may leave before their children, which then are held and cannot be hit.
"""

from __future__ import annotations

from swarm.context.tree import Node
from swarm.kvcache.blocks import PERMANENT, Piece, Use
from swarm.kvcache.runs import QUEUE_SLACK, Runs
from swarm.kvcache.tier import Tier, TierSpec

USES = 1 << 32
"""More than a run has uses: a rank is a number of the policy's times this, and the use's."""


class RootFirst(Runs):
    """Runs whose blocks of one rank are let go of from the root on."""

    __slots__ = ()

    def _cut(self, use: Use, blocks: int, evicted: list[Piece]) -> int:
        """Cut the `blocks` blocks of `use` that lie nearest the root, or all that it has; return how many."""
        left = blocks
        path: list[Node] = []
        node = use.node
        while node is not None:
            if node in self.by_node:
                path.append(node)
            node = node.parent
        while left and path:
            owner = path.pop()
            runs = self.by_node[owner]
            index = 0
            while left and index < len(runs):
                start, end, run_use = runs[index]
                if run_use is not use:
                    index += 1
                    continue
                if end - start > left:
                    runs[index] = (start + left, end, use)
                    end = start + left
                else:
                    del runs[index]
                left -= end - start
                evicted.append((owner, start, end, use))
            if not runs:
                del self.by_node[owner]
        self.held -= blocks - left
        return blocks - left

    def evict_until(self, blocks: int, until_s: float) -> list[Piece]:
        """Stop holding up to `blocks` blocks of ranks whose time is not after `until_s`, in order."""
        evicted: list[Piece] = []
        while blocks > 0:
            while self.first < len(self.queue) and not self._has_blocks(self.queue[self.first]):
                self.first += 1
            if self.first == len(self.queue) or self.queue[self.first].at_s > until_s:
                break
            use = self.queue[self.first]
            blocks -= self._cut(use, blocks, evicted)
        return evicted


class OrderedTier(Tier):
    """What tiers with an order of their own share: both records hold the same blocks."""

    __slots__ = ("order", "ranks")

    def __init__(self, spec: TierSpec) -> None:
        super().__init__(spec)
        self.order = RootFirst(is_queued=True)
        self.ranks: dict[int, Use] = {}
        """By their numbers: the blocks of a rank lie on one path."""

    def expire(self, now_s: float) -> list[Piece]:
        """Let go of what has outlived the TTL."""
        expired = super().expire(now_s)
        for node, start, end, _ in expired:
            self._forget(node, start, end)
        return expired

    def promote_away(self, node: Node, start: int, end: int) -> None:
        """Let go of blocks that HBM has taken over."""
        super().promote_away(node, start, end)
        self._forget(node, start, end)

    def pin(self, node: Node, start: int, end: int) -> int:
        """Never let go of those of the held blocks [start, end) that begin a path, as far as allowed."""
        stop = super().pin(node, start, end)
        self._forget(node, start, stop)
        return stop

    def clear(self) -> None:
        """Let go of everything."""
        super().clear()
        self.order = RootFirst(is_queued=True)
        self.ranks.clear()

    def ranked(self) -> list[Runs]:
        """Return what records the order; each block that may leave is in one of them."""
        return [self.order]

    def _rank(self, major: int, use: Use, at_s: float) -> Use:
        """Return the rank of a use's blocks by a number of the policy's; root first within it."""
        sequence = major * USES + use.sequence
        rank = self.ranks.get(sequence)
        if rank is None:
            if len(self.ranks) > 2 * self._ranks_held() + QUEUE_SLACK:
                self._prune()
            rank = self.ranks[sequence] = Use(sequence, at_s, use.node)
        return rank

    def _ranks_held(self) -> int:
        """Return about how many ranks have blocks, or had some lately."""
        return len(self.order.queue) - self.order.first

    def _prune(self) -> None:
        """Forget ranks that are in no queue."""
        self.ranks = {rank.sequence: rank for rank in self.order.queue[self.order.first :]}

    def _forget(self, node: Node, start: int, end: int) -> None:
        """Blocks are no longer evicted by rank."""
        self.order.take(node, start, end)

    def _let_go(self, ranked: list[Piece]) -> list[Piece]:
        """Stop holding what left the order; return it with its last uses."""
        evicted: list[Piece] = []
        runs = self.runs
        for node, start, end, _ in ranked:
            for low, high, use in runs.within(node, start, end):
                assert use is not PERMANENT
                evicted.append((node, low, high, use))
                self.counters.evicted_blocks += high - low
            runs.take(node, start, end)
        return evicted
