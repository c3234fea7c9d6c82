"""What the journals of an interrupted run should have, and have not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from swarm.live.driver.recovered import Recovered


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)], []),
        ([(0, 0, 1), (0, 0, 4), (1, 0, 0)], ["3 reports of host 0 are in no journal"]),
        ([], ["no journal tells of anything"]),
    ],
)
def test_reports_that_are_missing_are_told(reports: list[tuple[int, int, int]], words: list[str]) -> None:
    batches = [SimpleNamespace(host=h, epoch=e, sequence=s) for h, e, s in reports]
    found = Recovered(batches, 1.0, 1).lost()
    assert [each.partition(":")[0] for each in found] == words
