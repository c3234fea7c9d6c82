"""Which stretches of a context tree a memory holds, and when each was last used.

What a memory holds of a node is a short sorted list of runs (start, end, use) instead of a list of blocks, so
that a request costs a few steps for each node on its path, whatever its length.

Runs are tuples because that is faster plain: to replace and read one takes 140 ns, an object with slots 240.
Compiled it makes no difference (44 and 36 ns).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from operator import attrgetter
from typing import Final

from swarm.context.tree import Node
from swarm.kvcache.blocks import PERMANENT, PINNED, Piece, Run, Use

INFINITE: Final = math.inf
"""A constant of compiled code, where `math.inf` is looked up and unpacked at each use."""
QUEUE_SLACK: Final = 64
"""Entries that a queue may hold beyond twice those that were live when it was last rebuilt."""
_sequence_of = attrgetter("sequence")


class Runs:
    """The runs that one memory holds, with a queue of their uses, least recent first.

    Nothing counts the blocks of a use: to count takes longer than to walk its path when it is evicted.
    """

    __slots__ = ("_queue_max", "by_node", "first", "held", "is_queued", "permanent", "pinned", "queue")

    def __init__(self, *, is_queued: bool) -> None:
        self.by_node: dict[Node, list[Run]] = {}
        self.queue: list[Use] = []
        """In order, as nearly all come in order anyway; an entry whose use has no blocks left is dead."""
        self.is_queued = is_queued
        """Without a queue nothing is evicted or expires."""
        self.first = 0
        """Entries before this are dead."""
        self.held = 0
        self.pinned = 0
        """Blocks that somebody is using now."""
        self.permanent = 0
        """Blocks that are never let go of, and that nobody is using now."""
        self._queue_max = QUEUE_SLACK
        """Entries at which the dead ones are dropped."""

    def paint(self, node: Node, start: int, end: int, use: Use, fill: bool) -> int:
        """Let `use` be the last use of blocks [start, end) that are pinned or were used before it.

        With `fill` the blocks of the range that are not held become held. Returns how many did.
        """
        runs = self.by_node.get(node)
        if runs is None:
            if fill:
                self.by_node[node] = [(start, end, use)]
                self._count(use, end - start)
                self.held += end - start
                return end - start
            return 0
        last_start, last_end, last_use = runs[-1]
        if last_end == start and last_use is use:
            if not fill:
                return 0
            runs[-1] = (last_start, end, use)
            if use.node is None:
                self._count(use, end - start)
            self.held += end - start
            return end - start
        if (
            last_start == start
            and last_end <= end
            and (last_use is PINNED or last_use.sequence < use.sequence)
        ):
            new_end = end if fill else last_end
            if len(runs) == 1 or runs[-2][2] is not use:
                runs[-1] = (start, new_end, use)
                if last_use.node is None:
                    self._uncount(last_use, last_end - start)
                self._count(use, new_end - start)
                self.held += new_end - last_end
                return new_end - last_end
        return self._splice(runs, start, end, use, fill)

    def _splice(self, runs: list[Run], start: int, end: int, use: Use, fill: bool) -> int:
        """Paint where several runs may be touched."""
        low = 0
        while low < len(runs) and runs[low][1] < start:
            low += 1
        high = low
        inserted = repainted = 0
        position = start
        pieces: list[Run] = []
        while high < len(runs) and runs[high][0] <= end:
            run_start, run_end, run_use = run = runs[high]
            high += 1
            if run_end <= start or run_start >= end:
                if run_start >= end and fill and position < end:
                    inserted += end - position
                    _join(pieces, (position, end, use))
                    position = end
                _join(pieces, run)
                continue
            inside_start, inside_end = run_start, run_end
            if run_start < start:
                _join(pieces, (run_start, start, run_use))
                inside_start = start
            if run_end > end:
                inside_end = end
            if fill and inside_start > position:
                inserted += inside_start - position
                _join(pieces, (position, inside_start, use))
            if run_use is PINNED or run_use.sequence < use.sequence:
                if run_use is not use:
                    self._uncount(run_use, inside_end - inside_start)
                    repainted += inside_end - inside_start
                _join(pieces, (inside_start, inside_end, use))
            else:
                _join(pieces, (inside_start, inside_end, run_use))
            if run_end > end:
                _join(pieces, (end, run_end, run_use))
            position = inside_end
        if fill and position < end:
            inserted += end - position
            _join(pieces, (position, end, use))
        runs[low:high] = pieces
        if inserted or repainted:
            self._count(use, inserted + repainted)
            self.held += inserted
        return inserted

    def take(self, node: Node, start: int, end: int) -> int:
        """Stop holding blocks [start, end); return how many were held."""
        runs = self.by_node.get(node)
        if runs is None:
            return 0
        kept: list[Run] = []
        taken = 0
        for run in runs:
            run_start, run_end, use = run
            if run_end <= start or run_start >= end:
                kept.append(run)
                continue
            if run_start < start:
                kept.append((run_start, start, use))
            if run_end > end:
                kept.append((end, run_end, use))
            blocks = min(run_end, end) - max(run_start, start)
            if use.node is None:
                self._uncount(use, blocks)
            taken += blocks
        self._store(node, kept)
        self.held -= taken
        return taken

    def evict(self, blocks: int) -> list[Piece]:
        """Stop holding up to `blocks` blocks, least recent use first, deepest first within a use."""
        evicted: list[Piece] = []
        queue, first = self.queue, self.first
        while blocks > 0 and first < len(queue):
            blocks -= self._cut(queue[first], blocks, evicted)
            if blocks > 0:
                first += 1
        self.first = first
        return evicted

    def evict_of(self, use: Use, blocks: int) -> list[Piece]:
        """Stop holding up to `blocks` blocks whose last use is `use`, the deepest first."""
        evicted: list[Piece] = []
        self._cut(use, blocks, evicted)
        return evicted

    def repaint(self, node: Node, start: int, end: int, use: Use) -> None:
        """Let `use` be the last use of blocks [start, end) that are held, but not of those in use now."""
        for low, high, other in self.within(node, start, end):
            if other is not PINNED:
                self.paint(node, low, high, use, False)

    def oldest(self) -> Use | None:
        """Return the least recent use that holds blocks and is in the queue."""
        queue, first = self.queue, self.first
        while first < len(queue) and not self._has_blocks(queue[first]):
            first += 1
        self.first = first
        return queue[first] if first < len(queue) else None

    def oldest_s(self) -> float:
        """Return the time of the least recent use that holds blocks; infinite if there is none."""
        oldest_s = INFINITE
        if self.oldest() is None:
            return oldest_s
        queue, first = self.queue, self.first
        for place in range(first, len(queue)):
            use = queue[place]
            if use.at_s < oldest_s and (place == first or self._has_blocks(use)):
                oldest_s = use.at_s
            if oldest_s <= use.at_s and not use.is_kept:
                # Every later use counts from then on, or from later still.
                break
        return oldest_s

    def expire(self, now_s: float, ttl_s: float) -> list[Piece]:
        """Stop holding the blocks that have outlived `ttl_s` since their last use, least recent first."""
        expired: list[Piece] = []
        queue, first = self.queue, self.first
        place = first
        while place < len(queue):
            use = queue[place]
            if use.at_s + ttl_s < now_s:
                self._cut(use, self.held, expired)
                if place > first:
                    del queue[place]
                    continue
                first += 1
            elif not use.is_kept:
                break
            place += 1
        self.first = first
        return expired

    def _cut(self, use: Use, blocks: int, evicted: list[Piece]) -> int:
        """Cut the deepest `blocks` blocks of `use`, or all that it has; return how many."""
        left = blocks
        node = use.node
        while left and node is not None:
            runs = self.by_node.get(node)
            if runs is not None:
                index = len(runs)
                while left and index:
                    index -= 1
                    start, end, run_use = runs[index]
                    if run_use is not use:
                        continue
                    if end - start > left:
                        start = end - left
                        runs[index] = (runs[index][0], start, use)
                    else:
                        del runs[index]
                    left -= end - start
                    evicted.append((node, start, end, use))
                if not runs:
                    del self.by_node[node]
            node = node.parent
        self.held -= blocks - left
        return blocks - left

    def _has_blocks(self, use: Use) -> bool:
        """Return whether any block was last used then; all of them lie on its path."""
        by_node = self.by_node
        node = use.node
        while node is not None:
            runs = by_node.get(node)
            if runs is not None:
                for _, _, other in runs:
                    if other is use:
                        return True
            node = node.parent
        return False

    def covered(self, node: Node, start: int, end: int, now_s: float, ttl_s: float) -> list[tuple[int, int]]:
        """Return the parts of [start, end) that are held and have not outlived `ttl_s`."""
        parts: list[tuple[int, int]] = []
        for run_start, run_end, use in self.by_node.get(node, ()):
            if run_end > start and run_start < end and use.at_s + ttl_s >= now_s:
                low = run_start if run_start > start else start
                high = run_end if run_end < end else end
                if parts and parts[-1][1] == low:
                    parts[-1] = (parts[-1][0], high)
                else:
                    parts.append((low, high))
        return parts

    def within(self, node: Node, start: int, end: int) -> list[Run]:
        """Return what is held of [start, end), with its uses."""
        return [
            (run_start if run_start > start else start, run_end if run_end < end else end, use)
            for run_start, run_end, use in self.by_node.get(node, ())
            if run_end > start and run_start < end
        ]

    def missing(self, node: Node, start: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of [start, end) that are not held."""
        parts: list[tuple[int, int]] = []
        for run_start, run_end, _ in self.by_node.get(node, ()):
            if run_end <= start:
                continue
            if run_start >= end:
                break
            if run_start > start:
                parts.append((start, run_start))
            start = run_end
        if start < end:
            parts.append((start, end))
        return parts

    def _store(self, node: Node, runs: list[Run]) -> None:
        if runs:
            self.by_node[node] = runs
        else:
            del self.by_node[node]

    def _count(self, use: Use, blocks: int) -> None:
        """Blocks have got a use."""
        if use.node is None:
            if use is PINNED:
                self.pinned += blocks
            else:
                self.permanent += blocks
        elif self.is_queued:
            queue = self.queue
            if not queue or queue[-1].sequence < use.sequence:
                queue.append(use)
            elif queue[-1] is not use or self.first == len(queue):
                at = bisect_right(queue, use.sequence, lo=self.first, key=_sequence_of)
                if at == self.first or queue[at - 1] is not use:
                    queue.insert(at, use)
            if len(queue) > self._queue_max:
                self._drop_dead()

    def _uncount(self, use: Use, blocks: int) -> None:
        """Blocks are no longer pinned, or permanent."""
        if use is PINNED:
            self.pinned -= blocks
        elif use is PERMANENT:
            self.permanent -= blocks

    def _drop_dead(self) -> None:
        queue = self.queue
        queue[:] = [use for use in queue[self.first :] if self._has_blocks(use)]
        self.first = 0
        self._queue_max = 2 * len(queue) + QUEUE_SLACK


def _join(pieces: list[Run], run: Run) -> None:
    """Append a run, as a part of the last one where it continues it."""
    if pieces:
        last = pieces[-1]
        if last[1] == run[0] and last[2] is run[2]:
            pieces[-1] = (last[0], run[1], run[2])
            return
    pieces.append(run)
