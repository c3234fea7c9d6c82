"""Objectives as tables: each metric, bucket, role and way of counting against counts by hand."""

from typing import Any

import numpy as np
import pytest

from swarm.config.slo import ObjectiveConfig
from swarm.measure.latency import Selection
from swarm.measure.sketch import Sketch
from swarm.measure.slo import judge, trials_of, within_all
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable


def row(**changes: Any) -> RequestRow:
    values: dict[str, Any] = {
        field: None if "None" in str(kind) else {"str": "", "bool": True}.get(str(kind), 0)
        for field, kind in RequestRow.__annotations__.items()
    }
    values |= {"outcome": "ok", "role": "orchestrator", "agent": "s0", "prompt_tokens": 1000}
    values |= {"output_tokens": 11, "sent_s": 0.0, "first_token_s": 1.0, "completed_s": 2.0}
    return RequestRow(**(values | changes))


def selection(rows: list[RequestRow]) -> Selection:
    table = RowTable()
    table.extend(rows)
    return Selection(table.table(), np.ones(len(rows), dtype=np.bool_))


# Ten requests, one after the other: TTFT 1..10 s, two agents, roles and context lengths.
ROWS = [
    row(
        agent=f"s{k % 2}",
        role="expert" if k % 2 else "orchestrator",
        prompt_tokens=1000 * (k + 1),
        intended_s=100.0 * k,
        sent_s=100.0 * k,
        first_token_s=100.0 * k + k + 1,
        completed_s=100.0 * k + k + 2,
    )
    for k in range(10)
]


def verdict(objective: dict[str, Any], rows: list[RequestRow] | None = None) -> dict[str, Any]:
    config = ObjectiveConfig.model_validate(objective)
    return judge([config], selection(ROWS if rows is None else rows), {}, {}, {})[0]


@pytest.mark.parametrize(
    ("objective", "good_share", "met"),
    [
        ({"metric": "ttft_s", "quantile": 0.5, "at_most": 5.5}, 0.5, True),
        ({"metric": "ttft_s", "quantile": 0.9, "at_most": 5.5}, 0.5, False),
        ({"metric": "tpot_s", "quantile": 0.9, "at_most": 0.11}, 1.0, True),
        # 11 tokens over 2..11 s: at least 1 token per second in all of them.
        ({"metric": "output_tokens_per_s", "quantile": 0.9, "at_least": 1.0}, 1.0, True),
        ({"metric": "output_tokens_per_s", "quantile": 0.9, "at_least": 2.0}, 0.4, False),
        ({"metric": "ttft_s", "quantile": 0.5, "at_most": 5.5, "role": "expert"}, 2 / 5, False),
        ({"metric": "ttft_s", "quantile": 0.9, "at_most": 3.5, "context_below": 3001}, 1.0, True),
        ({"metric": "ttft_s", "quantile": 0.9, "at_most": 9.5, "context_from": 9000}, 0.5, False),
        # Windows of 500 s: of the first five requests all are good, of the last none.
        ({"metric": "ttft_s", "quantile": 0.9, "at_most": 5.5, "of": "windows", "window_s": 500}, 0.5, False),
        ({"metric": "ttft_s", "quantile": 0.4, "at_most": 5.5, "of": "agents", "share": 1.0}, 1.0, True),
        ({"metric": "ttft_s", "quantile": 0.5, "at_most": 5.5, "of": "agents", "share": 0.9}, 0.5, False),
    ],
)
def test_an_objective_is_judged_by_those_it_is_about(
    objective: dict[str, Any], good_share: float, met: bool
) -> None:
    found = verdict(objective)
    assert (found["good_share"], found["met"]) == (pytest.approx(good_share), met)


def test_burn_is_the_share_of_the_allowed_misses() -> None:
    assert verdict({"metric": "ttft_s", "quantile": 0.8, "at_most": 9.5})["burn"] == pytest.approx(0.5)
    assert verdict({"metric": "ttft_s", "quantile": 0.8, "at_most": 5.5})["burn"] == pytest.approx(2.5)


def test_what_was_not_observed_is_unknown_and_not_met() -> None:
    found = verdict({"metric": "ttft_s", "at_most": 1.0, "role": "nobody"})
    assert (found["value"], found["met"], found["good_share"]) == (None, None, None)


def test_a_failed_request_is_a_miss() -> None:
    failed = row(outcome="failed", first_token_s=None)
    trials = trials_of(ObjectiveConfig(metric="ttft_s", at_most=100.0), selection([*ROWS, failed]))
    assert (int(trials.good.sum()), len(trials.good)) == (10, 11)


@pytest.mark.parametrize(("failed", "met"), [(0, True), (1, True), (2, False), (30, False)])
def test_an_objective_is_met_by_all_requests_due_and_valued_by_those_that_finished(
    failed: int, met: bool
) -> None:
    rows = [row(intended_s=0.0)] * 19 + [row(outcome="failed", first_token_s=None)] * failed
    found = verdict({"metric": "effective_ttft_s", "quantile": 0.95, "at_most": 1.5}, rows)
    assert (found["value"], found["met"]) == (1.0, met)
    assert found["good_share"] == pytest.approx(19 / (19 + failed))


CUT: dict[str, Any] = {"outcome": "interrupted", "error_class": "interrupted", "planned_output_tokens": 11}
WAITED_10_S: dict[str, Any] = {**CUT, "first_token_s": None, "completed_s": 10.0}


@pytest.mark.parametrize(
    ("objective", "cut", "good", "count"),
    [
        # Cut off after 10 s without a token: past a bound of 9 s for certain, of 11 s nobody knows.
        ({"metric": "effective_ttft_s", "at_most": 9.0}, WAITED_10_S, 0, 1),
        ({"metric": "effective_ttft_s", "at_most": 11.0}, WAITED_10_S, 0, 0),
        ({"metric": "e2e_s", "at_most": 9.0}, WAITED_10_S, 0, 1),
        ({"metric": "e2e_s", "at_most": 11.0}, WAITED_10_S, 0, 0),
        # 11 tokens, had they all come at once, would be 1.1 a second.
        ({"metric": "output_tokens_per_s", "at_least": 1.2}, WAITED_10_S, 0, 1),
        ({"metric": "output_tokens_per_s", "at_least": 1.0}, WAITED_10_S, 0, 0),
        # A first token at 1 s is known, whatever comes later; ten more in 9 s at the least are 0.9 s each.
        ({"metric": "ttft_s", "at_most": 2.0}, {**CUT, "completed_s": 10.0}, 1, 1),
        ({"metric": "ttft_s", "at_most": 0.5}, {**CUT, "completed_s": 10.0}, 0, 1),
        ({"metric": "tpot_s", "at_most": 0.8}, {**CUT, "completed_s": 10.0}, 0, 1),
        ({"metric": "tpot_s", "at_most": 1.0}, {**CUT, "completed_s": 10.0}, 0, 0),
        # Its host was lost: when that was is not the target's doing.
        ({"metric": "e2e_s", "at_most": 9.0}, {**WAITED_10_S, "error_class": "host_lost"}, 0, 0),
    ],
)
def test_a_request_that_was_cut_off_is_judged_by_what_is_known_of_it(
    objective: dict[str, Any], cut: dict[str, Any], good: int, count: int
) -> None:
    trials = trials_of(ObjectiveConfig.model_validate(objective), selection([row(**cut)]))
    assert (int(trials.good.sum()), len(trials.good)) == (good, count)


def test_completions_of_agents_are_judged_from_their_times() -> None:
    config = ObjectiveConfig(metric="session_s", quantile=0.75, at_most=30.0)
    taken = {"session_s": np.array([10.0, 20.0, 30.0, 40.0])}
    found = judge([config], selection(ROWS), {}, taken, {"session_s": np.array([])})[0]
    assert (found["good_share"], found["count"]) == (0.75, 4)


def test_a_good_request_meets_all_objectives_that_concern_it() -> None:
    objectives = [
        ObjectiveConfig(metric="ttft_s", at_most=8.5),
        ObjectiveConfig(metric="ttft_s", at_most=2.5, role="expert"),
    ]
    good = within_all(objectives, selection(ROWS))
    assert good.tolist() == [True, True, True, False, True, False, True, False, False, False]


@pytest.mark.parametrize(
    "objective",
    [
        {"metric": "ttft_s"},
        {"metric": "ttft_s", "at_most": 1, "at_least": 1},
        {"metric": "session_s", "at_most": 1, "of": "agents"},
        {"metric": "ttft_s", "at_most": 1, "context_from": 5, "context_below": 5},
    ],
)
def test_an_objective_that_makes_no_sense_is_refused(objective: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at_most|whole agents|context"):
        ObjectiveConfig.model_validate(objective)


def test_an_unfiltered_objective_is_the_summarys_percentile() -> None:
    sketch = Sketch()
    sketch.add_many([float(k) for k in range(1, 101)])
    config = ObjectiveConfig(metric="ttft_s", quantile=0.95, at_most=90.0)
    assert judge([config], selection(ROWS), {"ttft_s": sketch}, {}, {})[0]["value"] == sketch.quantile(0.95)


@pytest.mark.parametrize(
    ("unfinished", "count", "met"),
    [([], 2, True), ([30.0, 59.9], 2, True), ([61.0], 3, True), ([61.0, 70.0], 4, False)],
)
def test_a_session_that_had_not_ended_past_its_bound_is_a_miss(
    unfinished: list[float], count: int, met: bool
) -> None:
    config = ObjectiveConfig.model_validate({"metric": "session_s", "quantile": 0.6, "at_most": 60})
    ended, cut_off = {"session_s": np.array([10.0, 20.0])}, {"session_s": np.array(unfinished)}
    (found,) = judge([config], selection(ROWS), {}, ended, cut_off)
    assert (found["count"], found["met"]) == (count, met)
    assert found["value"] < 20.0
