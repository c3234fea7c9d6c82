"""A load of which too much fails is given up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.config.abort import AbortConfig
from swarm.live.coordinator import Snapshot
from swarm.live.driver.abort import Abort

QUIET = Snapshot(1, 1, 0, 0, 1, 0, 0, 0, 0, b"", {}, None, False, {}, 0)


def told(config: AbortConfig, seen: list[tuple[float, int, int]]) -> list[bool]:
    abort = Abort(config)
    return [
        abort.reason(at_s, replace(QUIET, ended=ended, failed=failed)) is not None
        for at_s, ended, failed in seen
    ]


@pytest.mark.parametrize(
    ("config", "seen", "stops"),
    [
        ({}, [(0, 0, 0), (1, 40, 40), (2, 60, 60)], [False, False, True]),
        ({}, [(0, 0, 0), (10, 1_000, 400), (20, 2_000, 900)], [False, False, False]),
        ({"failed_share": None}, [(0, 0, 0), (2, 600, 600)], [False, False]),
        # An hour of good answers does not hide a server that has died.
        ({}, [(0, 0, 0), (3_570, 89_900, 0), (3_640, 90_400, 300)], [False, False, True]),
        (
            {"over_s": 30.0},
            [(0, 0, 0), (60, 100, 90), (95, 200, 90), (130, 300, 90)],
            [False, True, False, False],
        ),
    ],
)
def test_a_load_is_stopped_where_most_of_the_last_minute_failed(
    config: dict[str, float | None], seen: list[tuple[float, int, int]], stops: list[bool]
) -> None:
    assert told(AbortConfig.model_validate(config), seen) == stops
