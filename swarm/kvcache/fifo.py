"""First in, first out: what was written first leaves first, however often it was read since."""

from __future__ import annotations

from swarm.context.tree import Node
from swarm.kvcache.blocks import Piece, Use
from swarm.kvcache.ordered import OrderedTier
from swarm.kvcache.tier import TierSpec


class FifoTier(OrderedTier):
    """Evicts in the order in which writes landed; uses count for the TTL, and within a write.

    Within a write what was used least recently goes first, from the root on.
    """

    __slots__ = ("landed",)

    def __init__(self, spec: TierSpec) -> None:
        super().__init__(spec)
        self.landed = 0
        """Writes that have landed, so far."""

    def take_in(self, pieces: list[Piece], blocks: int, block_bytes: int, now_s: float) -> list[Piece]:
        """Hold what has been written, as the last in the order."""
        self.landed += 1
        return super().take_in(pieces, blocks, block_bytes, now_s)

    def make_room(self, blocks: int, now_s: float) -> list[Piece]:
        """Evict until `blocks` more fit, as far as there is anything to evict."""
        capacity = self.capacity_blocks
        if capacity is None or self.runs.held + blocks <= capacity:
            return []
        return self._let_go(self.order.evict(self.runs.held + blocks - capacity))

    def _hold(self, node: Node, start: int, end: int, use: Use, now_s: float) -> None:
        """Hold blocks that it has not held."""
        self.order.paint(node, start, end, self._rank(self.landed, use, now_s), fill=True)
        super()._hold(node, start, end, use, now_s)
