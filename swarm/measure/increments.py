"""What a run's windows hold more than when last looked at, for counters and histograms that only grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from swarm.measure.sketch import Sketch
from swarm.measure.window import COUNTS, SKETCHES, Cell, Windows

Observed = list[tuple[float, int]]
"""A value of a bucket, and how often one of its values came."""


@dataclass(slots=True)
class _Seen:
    """What was told of a window."""

    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    buckets: dict[str, list[int]] = field(default_factory=dict)


class Increments:
    """Differences between looks at the newest windows of a run, all hosts and endpoints as one."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ends of the buckets; a last one holds what lies above."""
        self._bounds = tuple(bounds)
        # A value within each bucket, which stands for all of it.
        edges = (0.0, *self._bounds)
        middles = [(low + high) / 2 for low, high in pairwise(edges)]
        self._values = (*middles, self._bounds[-1] * 2)
        self._seen: dict[int, _Seen] = {}

    def since_last(self, windows: Windows) -> tuple[dict[str, int], dict[str, Observed]]:
        """Return what came since the last call: counts by name, and observations of each sketch by bucket.

        A window that is no longer among the newest has told all that it will.
        """
        counts = dict.fromkeys(COUNTS, 0)
        observed: dict[str, Observed] = {name: [] for name in SKETCHES}
        merged: dict[int, Cell] = {}
        for (index, _, _), cell in windows.cells.items():
            merged.setdefault(index, Cell()).merge(cell)
        self._seen = {index: self._seen.get(index, _Seen()) for index in merged}
        for index, cell in merged.items():
            seen = self._seen[index]
            for name, now, before in zip(COUNTS, cell.counts, seen.counts, strict=True):
                counts[name] += max(0, now - before)
            seen.counts = list(map(max, cell.counts, seen.counts))
            for name, sketch in cell.sketches.items():
                observed[name] += self._observed(sketch, seen, name)
        return counts, observed

    def _observed(self, sketch: Sketch, seen: _Seen, name: str) -> Observed:
        before = seen.buckets.get(name, [0] * len(self._values))
        if sketch.count <= sum(before):
            return []
        now = sketch.counts_between(self._bounds)
        seen.buckets[name] = list(map(max, now, before))
        return [
            (value, more - less)
            for value, more, less in zip(self._values, now, before, strict=True)
            if more > less
        ]
