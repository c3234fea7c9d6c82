"""LRU stack distances of whole stretches, in one pass."""

from __future__ import annotations

from collections.abc import Sequence


class Stack:
    """The LRU stack as what is left of each request's path; sizes in tokens.

    A request lifts its whole path to the top, head uppermost. All that later requests take from an
    earlier path is a prefix of it, so what is left is a suffix, and a Fenwick tree over the requests
    tells how many tokens lie above one. The distance of a block is one sum, its path's is a few.
    """

    def __init__(self, requests: int) -> None:
        self._tree = [0] * (requests + 1)
        self._total = 0

    def lift(self, request: int, sources: Sequence[int], tokens: Sequence[int], new_tokens: int) -> list[int]:
        """Return the tokens above each source, then move `tokens[i]` of each, and new ones, to the top."""
        above = [self._above(source) for source in sources]
        moved = new_tokens
        for source, size in zip(sources, tokens, strict=True):
            self._add(source, -size)
            moved += size
        self._add(request, moved)
        self._total += new_tokens
        return above

    def _above(self, request: int) -> int:
        """Return how many tokens were used since `request`."""
        tree = self._tree
        above = self._total
        index = request + 1
        while index:
            above -= tree[index]
            index &= index - 1
        return above

    def _add(self, request: int, tokens: int) -> None:
        tree = self._tree
        end = len(tree)
        index = request + 1
        while index < end:
            tree[index] += tokens
            index += index & -index
