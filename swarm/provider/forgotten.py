"""What the trie has forgotten: a table of which content was there once, and when it was last used.

A block is kept as the hash of all content up to its end, so that the deepest one found tells that everything
before it was there, too. Of a forgotten stretch its end is kept, and blocks in steps of a 32nd of their
place: content that leaves a stretch in its midst is told too short by less than a 32nd of its length. The
table keeps what it got last; what it has lost counts as never seen. Other content is taken for something
that was there with a chance of 2^-28 a block that is looked up, at most.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swarm.context.tree import Node
from swarm.kvcache.loss import Gone
from swarm.provider.fingerprints import PRINT_BYTES

WAYS = 8
"""Places of the table where a block may be."""
ENTRY_BYTES = 10
"""A hash of 31 bits, seconds, and the number of a tier."""
FINE_BITS = 6
"""Of the first 2^FINE_BITS blocks each is kept, of each octave after them 2^(FINE_BITS - 1)."""

_FACTOR = 0x9E3779B97F4A7C15
_SALT = 0xD6E8FEB86659FD93
_MASK = 2**64 - 1

Prints: TypeAlias = bytes | bytearray | memoryview


class History(Protocol):
    """What the fleet knows of content, by its node."""

    def gone(self, node: Node, start: int, end: int) -> list[Gone]:
        """Return what is known of a node's blocks [start, end), which no memory holds any longer."""

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        """A node's blocks from `start` on, which are new to it, were there once under another one."""


class Forgotten:
    """A bounded table of blocks; its memory is taken once something is forgotten."""

    __slots__ = ("_buckets", "_dropped_by", "_history", "_powers", "_tags", "_used_s", "is_empty")

    def __init__(self, history: History, *, bytes_max: int) -> None:
        self._history = history
        self._buckets = bytes_max // (WAYS * ENTRY_BYTES)
        self.is_empty = True
        self._powers = np.ones(1, dtype=np.uint64)

    def note(self, node: Node, before: int, start: int, prints: Prints) -> None:
        """Keep that a node's blocks from `start` on were there; `before` is their past, `prints` they are."""
        gone = self._history.gone(node, start, start + len(prints) // PRINT_BYTES)
        if not gone or not self._buckets:
            return
        if self.is_empty:
            self._open()
        end = gone[-1].end
        ends = _kept(start, end)
        if not ends or ends[-1] != end:
            ends.append(end)
        which = np.searchsorted([each.end for each in gone], ends)
        used_s = np.array([each.used_s for each in gone], dtype=np.float32)[which]
        dropped_by = np.array([each.dropped_by + 1 for each in gone], dtype=np.uint16)[which]
        buckets, tags = self._places(before, start, prints, ends)
        while buckets.size:
            ways = self._ways(buckets, tags)
            self._tags[buckets, ways] = tags
            self._used_s[buckets, ways] = used_s
            self._dropped_by[buckets, ways] = dropped_by
            # Two of one bucket got one way: another round for the first of them.
            left = self._tags[buckets, ways] != tags
            buckets, tags, used_s, dropped_by = buckets[left], tags[left], used_s[left], dropped_by[left]

    def recall(self, node: Node, before: int, start: int, prints: Prints) -> bool:
        """Tell the fleet how much was there once of a node's blocks from `start` on, which are new to it.

        Returns whether more may have been there behind them.
        """
        last = start + len(prints) // PRINT_BYTES
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

    def _found(self, before: int, start: int, prints: Prints, ends: list[int]) -> list[Gone]:
        """Return those of the blocks with these ends that are in the table."""
        if not ends:
            return []
        buckets, tags = self._places(before, start, prints, ends)
        known = self._tags[buckets] == tags[:, None]
        rows, ways = np.nonzero(known)
        if not rows.size:
            return []
        at = buckets[rows]
        used_s, dropped_by = self._used_s[at, ways].tolist(), self._dropped_by[at, ways].tolist()
        return [
            Gone(ends[row], used, tier - 1)
            for row, used, tier in zip(rows.tolist(), used_s, dropped_by, strict=True)
        ]

    def _ways(self, buckets: NDArray[np.int64], tags: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return the place in its bucket for each tag: where it is, else a free one, else the oldest."""
        rows = self._tags[buckets]
        ages = np.where(rows == 0, -np.inf, self._used_s[buckets])
        known = rows == tags[:, None]
        return np.where(known.any(axis=1), known.argmax(axis=1), ages.argmin(axis=1))

    def _places(
        self, before: int, start: int, prints: Prints, ends: list[int]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Return the buckets and tags of the blocks with these ends."""
        count = ends[-1] - start
        powers = self._powers_to(ends[-1])[start:]
        sums = np.cumsum(np.frombuffer(prints, dtype=np.uint64, count=count) * powers)
        places = np.array(ends, dtype=np.uint64)
        # A block of zeros adds nothing to a sum, but is one more block.
        keys = sums[np.array(ends) - (start + 1)] + np.uint64(before) + places * np.uint64(_SALT)
        keys ^= keys >> np.uint64(32)
        keys *= np.uint64(_SALT)
        keys ^= keys >> np.uint64(32)
        keys *= np.uint64(_SALT)
        keys ^= keys >> np.uint64(32)
        buckets = (keys >> np.uint64(32)) % np.uint64(self._buckets)
        return buckets.astype(np.int64), keys.astype(np.uint32) | np.uint32(1)

    def _powers_to(self, count: int) -> NDArray[np.uint64]:
        """Return the first `count` powers of the factor, modulo 2^64."""
        if count > len(self._powers):
            factors = np.full(2 * count, _FACTOR, dtype=np.uint64)
            factors[0] = 1
            self._powers = np.multiply.accumulate(factors)
        return self._powers[:count]

    def _open(self) -> None:
        shape = self._buckets, WAYS
        self._tags = np.zeros(shape, dtype=np.uint32)
        self._used_s = np.zeros(shape, dtype=np.float32)
        self._dropped_by = np.zeros(shape, dtype=np.uint16)
        self.is_empty = False


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
