"""Counters and histograms are told each count once, however often the windows are looked at."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.measure.increments import Increments
from swarm.measure.sketch import PENDING_MAX, Sketch
from swarm.measure.window import COUNTS, Windows

BOUNDS = (0.1, 1.0, 10.0)


def windows(*cells: tuple[int, int, list[float]]) -> Windows:
    """Return windows of (index, finished, TTFTs)."""
    made = Windows(window_s=1.0, origin_s=0.0)
    for index, finished, values in cells:
        cell = made.cell((index, 0, ""))
        cell.counts[COUNTS.index("finished")] = finished
        cell.sketch("ttft_s").add_many(values)
    return made


def test_each_look_tells_what_came_since_the_last() -> None:
    increments = Increments(BOUNDS)
    looks = [
        windows((0, 2, [0.05, 0.5])),
        windows((0, 2, [0.05, 0.5])),
        windows((0, 3, [0.05, 0.5, 0.5]), (1, 1, [50.0])),
        # The first window is no longer among the newest; the coordinator may know less for a moment.
        windows((1, 0, []), (2, 4, [5.0])),
        windows((1, 2, [50.0, 60.0]), (2, 4, [5.0])),
    ]
    found = [increments.since_last(look) for look in looks]
    assert [counts["finished"] for counts, _ in found] == [2, 0, 2, 4, 1]
    assert [sorted(observed["ttft_s"]) for _, observed in found] == [
        [(0.05, 1), (0.55, 1)],
        [],
        [(0.55, 1), (20.0, 1)],
        [(5.5, 1)],
        [(20.0, 1)],
    ]


@pytest.mark.parametrize("count", [PENDING_MAX // 2, PENDING_MAX * 4])
def test_buckets_hold_what_a_count_of_the_values_says(count: int) -> None:
    values = np.random.default_rng(3).lognormal(0.0, 1.5, count)
    # A value on a bin's edge may fall to either side of a bound that lies within 0.5 % of it.
    values = values[np.all(np.abs(np.log(values[:, None] / BOUNDS)) > 0.005, axis=1)]
    sketch = Sketch()
    sketch.add_many([*values, 0.0])
    expected = np.histogram(np.append(values, 0.0), bins=[-1.0, *BOUNDS, np.inf])[0]
    assert sketch.counts_between(BOUNDS) == expected.tolist()
