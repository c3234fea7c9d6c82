"""Blocks and their uses, by name.

Block `i` covers tokens [i*B, (i+1)*B) and belongs to the node that holds its last token: a block is named
by (node, i), a node owns blocks from `node.start // B` on. All blocks of one use lie on one path, where an
index names one block: "deepest first" is "highest index first".
"""

from __future__ import annotations

import math

from swarm.context.tree import Node


class Use:
    """One use of a path that ends in `node`: recency is the sequence number, age counts from `at_s`."""

    __slots__ = ("at_s", "kept_s", "node", "sequence")

    def __init__(self, sequence: int, at_s: float, node: Node | None, kept_s: float = 0.0) -> None:
        self.sequence = sequence
        self.at_s = at_s
        self.node = node
        self.kept_s = kept_s
        """By how much it counts from later than it was, so that its blocks outlive a TTL."""

    @property
    def is_kept(self) -> bool:
        """Whether it counts from later than it was."""
        return self.kept_s > 0.0

    def __repr__(self) -> str:
        return f"Use({self.sequence}, at_s={self.at_s}, node={self.node!r})"


PINNED = Use(1 << 60, math.inf, None)
"""The use of blocks that somebody is using now: more recent than any, and in no queue."""


PERMANENT = Use(1 << 59, math.inf, None)
"""The use of blocks that a tier never lets go of: more recent than all but those in use, and in no queue."""


class Uses:
    """Numbers the uses, and the changes, of memories that share blocks."""

    __slots__ = ("changes", "count")

    def __init__(self) -> None:
        self.count = 0
        self.changes = 0
        """What was looked up is current while this stays the same."""

    def new(self, now_s: float, node: Node) -> Use:
        """Return a use more recent than every one before it."""
        self.count += 1
        return Use(self.count, now_s, node)

    def keep(self, now_s: float, longer_s: float, node: Node) -> Use:
        """Return a use, more recent than every one before it, that counts from so much later."""
        self.count += 1
        return Use(self.count, now_s + longer_s, node, longer_s)


Span = tuple[Node, int, int]
"""Blocks [start, end) of one node."""

Run = tuple[int, int, Use]
"""Blocks [start, end) last used together; the node is the key it is filed under."""

Piece = tuple[Node, int, int, Use]
"""A run on its way from one memory to another."""


def spans(node: Node, start: int, end: int, block_tokens: int) -> list[Span]:
    """Return who owns blocks [start, end) of the path to `node`, root first."""
    found: list[Span] = []
    above: Node | None = node
    while above is not None and end > start:
        first = above.start // block_tokens
        if first < end:
            found.append((above, first if first > start else start, end))
            end = first
        above = above.parent
    found.reverse()
    return found
