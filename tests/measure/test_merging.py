"""Many messages added at once are what they are one by one."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.measure.sketch import PENDING_MAX, Sketch
from swarm.measure.window import COUNTS, SKETCHES, Windows

SHARES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)


def reported(host: int) -> Windows:
    """Return what a host reports: some windows of two endpoints, sketches of any size or none."""
    chance = np.random.default_rng(host)
    made = Windows(window_s=1.0, origin_s=0.0)
    for index in range(host % 3, host % 3 + 2):
        for endpoint in ("a", "b")[: 1 + host % 2]:
            cell = made.cell((index, host, endpoint))
            cell.counts = chance.integers(0, 9, len(COUNTS)).tolist()
            cell.changes[0] = float(chance.integers(-5, 5))
            for name in SKETCHES[: chance.integers(0, len(SKETCHES) + 1)]:
                cell.sketch(name).add_many(chance.lognormal(0, 1, chance.choice([1, 40, PENDING_MAX * 2])))
                cell.sketch(name).add(0.0)
    return made


@pytest.mark.parametrize("hosts", [0, 1, 40])
def test_windows_added_together_are_those_added_one_by_one(hosts: int) -> None:
    together, single = (Windows(window_s=1.0, origin_s=0.0) for _ in range(2))
    for windows in map(reported, range(hosts)):
        for (index, _, _), cell in windows.cells.items():
            single.cell((index, 0, "")).merge(cell)
    together.merge_together([reported(host).to_bytes() for host in range(hosts)])
    assert together.cells.keys() == single.cells.keys()
    for place, cell in single.cells.items():
        found = together.cells[place]
        assert (found.counts, found.changes) == (cell.counts, pytest.approx(cell.changes))
        assert found.sketches.keys() == cell.sketches.keys()
        for name, sketch in cell.sketches.items():
            assert same(found.sketches[name], sketch)


def same(found: Sketch, expected: Sketch) -> bool:
    assert (found.count, found.least, found.most) == (expected.count, expected.least, expected.most)
    assert found.total == pytest.approx(expected.total)
    assert found.quantiles(SHARES) == pytest.approx(expected.quantiles(SHARES), rel=0.01)
    return True
