"""What open requests are using: prefixes of paths, as sorted ends for each node."""

from __future__ import annotations

from bisect import bisect_left, insort

from swarm.context.tree import Node


class Pins:
    """How far each node is pinned, and by how many; whoever pins part of a node pins all above it."""

    __slots__ = ("block_tokens", "ends")

    def __init__(self, *, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self.ends: dict[Node, list[int]] = {}

    def reach(self, node: Node, end: int) -> int:
        """Return how many of the first `end` blocks of a path are pinned."""
        above: Node | None = node
        while above is not None:
            first = above.start // self.block_tokens
            if first < end:
                ends = self.ends.get(above)
                if ends is not None:
                    return min(end, ends[-1])
                end = first
            above = above.parent
        return 0

    def add(self, node: Node, end: int) -> int:
        """Pin a node's blocks below `end`; return where those that were pinned already ended."""
        ends = self.ends.get(node)
        if ends is None:
            self.ends[node] = [end]
            return node.start // self.block_tokens
        pinned = ends[-1]
        if end >= pinned:
            ends.append(end)
        else:
            insort(ends, end)
        return pinned

    def move(self, node: Node, end: int, further: int) -> None:
        """Let one of a node's pins end further on."""
        ends = self.ends[node]
        if len(ends) == 1:
            ends[0] = further
        else:
            del ends[bisect_left(ends, end)]
            insort(ends, further)

    def remove(self, node: Node, end: int) -> int:
        """Take one pin off; return where the blocks that stay pinned end."""
        ends = self.ends[node]
        if ends[-1] == end:
            ends.pop()
        else:
            del ends[bisect_left(ends, end)]
        if ends:
            return ends[-1]
        del self.ends[node]
        return node.start // self.block_tokens
