"""A level of a search: what failed requests say of it, beside what its objectives do."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from scripted_levels import ended_row

from swarm.config.slo import ObjectiveConfig
from swarm.measure.level_check import LevelCheck, check_level
from swarm.records.row import RequestRow
from swarm.records.rows import batch_of

P90 = ObjectiveConfig(metric="ttft_s", quantile=0.9, at_most=1.0)


def checked(failed_of_1000: int, error_class: str, *, expects_429: bool = False) -> LevelCheck:
    every = 1000 // failed_of_1000 if failed_of_1000 else 1001
    rows = [
        ended_row(0.06 * number, 0.1, error_class=error_class if number % every == every - 1 else None)
        for number in range(1000)
    ]
    return check_of(rows, expects_429=expects_429)


def check_of(rows: list[RequestRow], *, expects_429: bool = False) -> LevelCheck:
    return check_level(
        pa.Table.from_batches([batch_of(rows)]),
        [P90],
        agents=4,
        from_s=0.0,
        to_s=60.0,
        confidence=0.95,
        occupancy=(),
        failed_share_max=0.01,
        expects_429=expects_429,
    )


@pytest.mark.parametrize(("failed", "has_failed"), [(0, False), (5, False), (10, False), (50, True)])
def test_a_level_fails_where_more_requests_fail_than_may_though_its_objective_holds(
    failed: int, has_failed: bool
) -> None:
    check = checked(failed, "http_5xx")
    assert check.evidence[0].low >= 0.9
    assert bool(check.failures) is has_failed
    assert not has_failed or check.failures == "5.0% of requests failed, more than audit.failed_share: 0.01"


@pytest.mark.parametrize(("expects_429", "has_failed"), [(False, True), (True, False)])
def test_refusals_of_a_stated_plan_are_no_failures_of_a_level(expects_429: bool, has_failed: bool) -> None:
    assert bool(checked(50, "http_429", expects_429=expects_429).failures) is has_failed


def test_primers_are_not_judged() -> None:
    own = [ended_row(0.06 * number, 0.1) for number in range(1000)]
    primers = [
        replace(ended_row(0.06 * number, 9.0, error_class="http_5xx" if number % 2 else None), kind="primer")
        for number in range(1000)
    ]
    assert check_of(own + primers) == check_of(own)
