"""How often each block of one HBM was used since it came there, as far as a threshold."""

from __future__ import annotations

from bisect import insort

from swarm.context.tree import Node
from swarm.kvcache.blocks import Piece


class UseCounts:
    """For each node how far requests used it, the least far first: as all use prefixes, that counts uses."""

    __slots__ = ("block_tokens", "ends", "threshold")

    def __init__(self, *, threshold: int, block_tokens: int) -> None:
        self.threshold = threshold
        self.block_tokens = block_tokens
        self.ends: dict[Node, list[int]] = {}
        """By node, the `threshold` furthest ends."""

    def add(self, node: Node, end: int) -> int:
        """Count a use of a node's blocks below `end`; return where those used often enough end."""
        ends = self.ends.get(node)
        if ends is None:
            ends = self.ends[node] = []
        insort(ends, end)
        if len(ends) > self.threshold:
            del ends[0]
        return ends[0] if len(ends) == self.threshold else node.start // self.block_tokens

    def cut(self, pieces: list[Piece]) -> None:
        """Blocks have left; those at the end of their nodes start anew when they come again."""
        for node, start, _, _ in pieces:
            ends = self.ends.get(node)
            if ends is None:
                continue
            if start <= node.start // self.block_tokens:
                del self.ends[node]
            elif ends[-1] > start:
                self.ends[node] = [min(end, start) for end in ends]
