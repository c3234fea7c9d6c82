"""Hits under optimal eviction: what no policy can exceed that knows of blocks alone (Belady).

A block that is used again is kept from one use to the next, or it is not; a pool holds so many at a time. The
most are kept by letting go of the one whose next use is furthest away, the deepest first of one use: the most
intervals on so many tracks. No use of a block comes before one of its parent, so what that keeps is a prefix
of every path, and the rule that a hit ends at the first block missing takes nothing from it. Like the LRU
pool beside it, this one need not take what it will not use again.

It is optimal in blocks. Where traces of several block sizes stand in one it parts blocks, and is a bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

import numpy as np

from swarm.reuse.prefix_reuse import Column, Reuse


class Optimum:
    """The intervals between uses, for one pass a capacity."""

    def __init__(self, reuse: Reuse) -> None:
        pieces = reuse.pieces
        order = np.lexsort((pieces.request, pieces.source))
        self._requests = len(reuse.requests.at_us)
        self._sources = pieces.source[order].tolist()
        self._owners = pieces.request[order].tolist()
        self._tokens = pieces.tokens[order].tolist()
        self._wanted = _sums(pieces.request, pieces.tokens, self._requests)
        self._overhang = _sums(pieces.request, pieces.overhang, self._requests)
        sizes = np.unique(pieces.tokens // np.maximum(pieces.blocks, 1)) if len(order) else np.ones(1, int)
        self._block_tokens = int(sizes[0]) if len(sizes) == 1 else 1

    def hits(self, capacity_tokens: int | None) -> int:
        """Return the tokens hit in a pool of so many tokens; None: without limit."""
        wanted, overhang = self._wanted, self._overhang
        if capacity_tokens is None:
            return int(wanted.sum() - overhang.sum())
        kept = self._kept(capacity_tokens // self._block_tokens * self._block_tokens)
        return int(kept.sum() - overhang[kept == wanted].sum())

    def _kept(self, capacity: int) -> Column:
        """Return, for each request, the tokens of its path that are there when it comes."""
        kept = [0] * self._requests
        furthest: list[int] = []
        held = 0
        now = -1
        for source, owner, tokens in zip(self._sources, self._owners, self._tokens, strict=True):
            while now < source:
                # What was kept until a request is held beyond it only by the interval that begins there.
                now += 1
                held -= kept[now]
            if not kept[owner]:
                heappush(furthest, -owner)
            kept[owner] += tokens
            held += tokens
            while held > capacity:
                last = -furthest[0]
                gone = min(kept[last], held - capacity)
                kept[last] -= gone
                held -= gone
                if not kept[last]:
                    heappop(furthest)
        return np.array(kept, dtype=np.int64)


def optimal_hits(reuse: Reuse, capacities: Iterable[int | None]) -> list[int]:
    """Return the tokens hit under optimal eviction at each capacity."""
    optimum = Optimum(reuse)
    return [optimum.hits(capacity) for capacity in capacities]


def _sums(request: Column, values: Column, requests: int) -> Column:
    return np.bincount(request, weights=values, minlength=requests).astype(np.int64)
