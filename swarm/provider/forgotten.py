"""What the trie has forgotten: a table of which content was there once, and when it was last used.

A block is kept as the hash of all content up to its end, so that the deepest one found tells that everything
before it was there, too. Of a forgotten stretch its first block and its last are kept, and blocks in steps
of a 32nd of their place: content that leaves a stretch in its midst is told too short by less than a 32nd
of its length, and the states that were saved in it are told as late by as little. The table keeps what it got
last; what it has lost counts as never seen. New content is taken for something that was there with a chance
of 2^-15 at most.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from hashlib import blake2b
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swarm.context.tree import Node
from swarm.kvcache.loss import Gone
from swarm.provider.fingerprints import PRINT_BYTES

WAYS = 8
"""Places of the table where a block may be: a line of the processor's cache."""
ENTRY_BYTES = 8
"""From the top: 20 bits of a hash, whether a state was saved, the number of a tier, the last use's time."""
TAG_SHIFT = 44
SAVED_SHIFT = 43
TIER_SHIFT = 32
TIERS_MAX = 1 << (SAVED_SHIFT - TIER_SHIFT)
TICKS_PER_S = 1000
TICKS_MAX = (1 << TIER_SHIFT) - 1
"""After 49 days all uses are of one time."""
FINE_BITS = 6
"""Of the first 2^FINE_BITS blocks each is kept, of each octave after them 2^(FINE_BITS - 1)."""

_FACTOR = 0x9E3779B97F4A7C15
_SALT = 0xD6E8FEB86659FD93
_MASK = 2**64 - 1
_TAG_SHIFT, _SAVED_SHIFT, _TICKS_MAX, _SALT64, _HALF = map(
    np.uint64, (TAG_SHIFT, SAVED_SHIFT, TICKS_MAX, _SALT, 32)
)

Prints: TypeAlias = bytes | bytearray | memoryview
Words: TypeAlias = NDArray[np.uint64]


class History(Protocol):
    """What the fleet knows of content, by its node."""

    def gone(self, node: Node, start: int, end: int) -> list[Gone]:
        """Return what is known of a node's blocks [start, end), which no memory holds any longer."""

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        """A node's blocks from `start` on, which are new to it, were there once under another one."""


class Forgotten:
    """A bounded table of blocks; its memory is taken once something is forgotten."""

    __slots__ = ("_buckets", "_history", "_powers", "_table", "is_empty")

    def __init__(self, history: History, *, bytes_max: int) -> None:
        self._history = history
        self._buckets = bytes_max // (WAYS * ENTRY_BYTES)
        self._powers = np.ones(1, dtype=np.uint64)
        self._table = np.zeros((0, WAYS), dtype=np.uint64)
        self.is_empty = True

    def note(self, node: Node, before: int, start: int, prints: Prints) -> None:
        """Keep that a node's blocks from `start` on were there; `before` is their past, `prints` they are."""
        gone = self._history.gone(node, start, start + len(prints) // PRINT_BYTES)
        if not gone or not self._buckets:
            return
        if self.is_empty:
            self._table = np.zeros((self._buckets, WAYS), dtype=np.uint64)
            self.is_empty = False
        ends = _kept(start, gone[-1].end)
        if not ends or ends[0] != start + 1:
            ends.insert(0, start + 1)
        if ends[-1] != gone[-1].end:
            ends.append(gone[-1].end)
        buckets, tags = self._places(before, start, prints, ends)
        saved = np.zeros(len(ends), dtype=np.uint64)
        saved[[bisect_left(ends, each.end) for each in gone if each.is_saved]] = 1
        tags = tags << _TAG_SHIFT | saved << _SAVED_SHIFT
        low = 0
        for each in gone:
            high = bisect_right(ends, each.end)
            self._write(buckets[low:high], tags[low:high], each)
            low = high

    def recall(self, node: Node, before: int, start: int, prints: Prints) -> bool:
        """Tell the fleet how much was there once of a node's blocks from `start` on, which are new to it.

        Returns whether more may have been there behind them.
        """
        last = start + len(prints) // PRINT_BYTES
        step = _step(start + 1)
        next_kept = start // step * step + step
        # Every stretch keeps its first block and the next of those that all keep.
        quick = {start + 1, min(next_kept, last)}
        if not any(self._is_known(before, start, prints, end) for end in quick):
            return next_kept > last
        gone = self._found(before, start, prints, _kept(start, last))
        deepest = gone[-1].end if gone else start
        step = _step(deepest + 1)
        next_kept = deepest // step * step + step
        gone += self._found(before, start, prints, list(range(deepest + 1, min(next_kept, last + 1))))
        if gone:
            self._history.recall(node, start, gone)
        return next_kept > last

    def past(self, before: int, start: int, prints: Prints) -> int:
        """Return what stands for a content's blocks up to the end of those given."""
        count = len(prints) // PRINT_BYTES
        if not count:
            return before
        powers = self._powers_to(start + count)[start:]
        return (before + int(np.frombuffer(prints, dtype=np.uint64, count=count) @ powers)) & _MASK

    def _is_known(self, before: int, start: int, prints: Prints, end: int) -> bool:
        """Return whether the block with this end is in the table: as `_places` has it, of one."""
        past = self.past(before, start, memoryview(prints)[: (end - start) * PRINT_BYTES])
        key = (past + end * _SALT) & _MASK
        key = (key ^ key >> 32) * _SALT & _MASK
        tag = key >> TAG_SHIFT | 1
        return any(word >> TAG_SHIFT == tag for word in self._table[key % self._buckets].tolist())

    def _found(self, before: int, start: int, prints: Prints, ends: list[int]) -> list[Gone]:
        """Return those of the blocks with these ends that are in the table."""
        if not ends:
            return []
        buckets, tags = self._places(before, start, prints, ends)
        rows = self._table[buckets]
        known = rows >> _TAG_SHIFT == tags[:, None]
        places = known.any(axis=1).nonzero()[0]
        words = rows[places, known.argmax(axis=1)[places]].tolist()
        return [
            Gone(
                ends[place],
                (word & TICKS_MAX) / TICKS_PER_S,
                (word >> TIER_SHIFT) % TIERS_MAX - 1,
                bool(word >> SAVED_SHIFT & 1),
            )
            for place, word in zip(places.tolist(), words, strict=True)
        ]

    def _write(self, buckets: NDArray[np.intp], words: Words, gone: Gone) -> None:
        """Write blocks, each where it is already, else over the oldest of its bucket.

        `words` are their tags, and whether a state was saved after them.
        """
        tier = gone.dropped_by + 1 if gone.dropped_by + 1 < TIERS_MAX else 0
        ticks = min(int(gone.used_s * TICKS_PER_S), TICKS_MAX)
        tags = words >> _TAG_SHIFT
        words = words | np.uint64(tier << TIER_SHIFT | ticks)
        while words.size:
            rows = self._table[buckets]
            # A place that has it goes before all others, and a free one before those in use.
            ages = np.where(
                rows >> _TAG_SHIFT == tags[:, None], np.uint64(0), (rows & _TICKS_MAX) + (rows > 0)
            )
            ways = ages.argmin(axis=1)
            self._table[buckets, ways] = words
            # Two of one bucket got one way: another round for the first of them.
            left = self._table[buckets, ways] != words
            if not left.any():
                return
            buckets, tags, words = buckets[left], tags[left], words[left]

    def _places(
        self, before: int, start: int, prints: Prints, ends: list[int]
    ) -> tuple[NDArray[np.intp], Words]:
        """Return the buckets and tags of the blocks with these ends."""
        count = ends[-1] - start
        powers = self._powers_to(ends[-1])[start:]
        sums = np.cumsum(np.frombuffer(prints, dtype=np.uint64, count=count) * powers)
        places = np.array(ends)
        # A block of zeros adds nothing to a sum, but is one more block.
        keys = sums[places - (start + 1)] + places.astype(np.uint64) * _SALT64 + np.uint64(before)
        keys = (keys ^ keys >> _HALF) * _SALT64
        return (keys % np.uint64(self._buckets)).astype(np.intp), keys >> _TAG_SHIFT | np.uint64(1)

    def _powers_to(self, count: int) -> Words:
        """Return the first `count` powers of the factor, modulo 2^64."""
        if count > len(self._powers):
            factors = np.full(2 * count, _FACTOR, dtype=np.uint64)
            factors[0] = 1
            self._powers = np.multiply.accumulate(factors)
        return self._powers[:count]


def beginning(kind: bytes) -> int:
    """Return what stands for the past of a root's first block."""
    return int.from_bytes(blake2b(kind, digest_size=8).digest(), "little")


def _step(end: int) -> int:
    """Return how far apart blocks are kept that end about there."""
    return 1 << max(0, end.bit_length() - FINE_BITS)


def _kept(start: int, end: int) -> list[int]:
    """Return the ends of the blocks among [start, end) that are kept, whatever stretch they are in."""
    found: list[int] = []
    at = start + 1
    while at <= end:
        step, top = _step(at), min(end, (1 << at.bit_length()) - 1)
        found += range(-(-at // step) * step, top + 1, step)
        at = top + 1
    return found
