"""The beginnings of paths that an HBM never lets go of: first come, up to a limit."""

from __future__ import annotations

from swarm.context.tree import Node


class Permanent:
    """How far each node is permanent; all above a node that is so in part is so as a whole."""

    __slots__ = ("block_tokens", "count", "ends", "limit")

    def __init__(self, *, block_tokens: int, limit: int) -> None:
        self.block_tokens = block_tokens
        self.limit = limit
        self.count = 0
        self.ends: dict[Node, int] = {}

    def extend(self, node: Node, end: int) -> int:
        """Make a node's blocks below `end` permanent, as far as the limit goes; return where they end."""
        known = self.ends.get(node, node.start // self.block_tokens)
        more = min(end - known, self.limit - self.count)
        if more > 0:
            self.count += more
            known += more
            self.ends[node] = known
        return known

    def reach(self, node: Node, end: int) -> int:
        """Return how many of the first `end` blocks of a path are permanent."""
        above: Node | None = node
        while above is not None:
            first = above.start // self.block_tokens
            if first < end:
                known = self.ends.get(above)
                if known is not None:
                    return min(end, known)
                end = first
            above = above.parent
        return 0

    def clear(self) -> None:
        """Let all go; what requests use then is the first to come."""
        self.ends.clear()
        self.count = 0
