"""What was paid: reads and writes at their prices, hits by gap, sums by project, model and kind."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from swarm.config.prices import PricesConfig
from swarm.reuse.paid import Paid
from swarm.reuse.survey import Survey
from swarm.workload.formats import fail
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent


def request(
    t_s: float, tokens: int, read: int | None, written: int = 0, ttl_s: float | None = 300.0, **more: Any
) -> RecordedRequest:
    fields: dict[str, Any] = {
        "model": "m", "streaming": True, "output_tokens": 10, "hash_ids": array("q", range(tokens // 100)),
        "input_types": ("text",), "output_types": (), "stop": None, "api_s": 1.0, "think_s": None,
        "ttft_s": None,
    }  # fmt: skip
    return RecordedRequest(
        t_s=t_s, input_tokens=tokens, read_tokens=read, written_tokens=written, written_ttl_s=ttl_s,
        **fields | more,
    )  # fmt: skip


MAIN = (
    request(0, 1000, 0, 1000),
    request(3, 1200, 1000, 200, think_s=2.0, input_types=("tool_result",)),
    request(404, 1300, 0, 1300, 3600.0, think_s=400.0),
)
SUB = RecordedSubagent(
    t_s=5, agent_id="a", kind="Explore", duration_s=None, tool_tokens=0, system_tokens=0,
    requests=(request(0, 500, 400, 0, None, model="small"),),
)  # fmt: skip


def recorded(*entries: RecordedRequest | RecordedSubagent) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    session = RecordedSession("s", "s", "global/x", 100, 0, 0, ("m",), entries, project="p")
    paid, survey = Paid(), Survey([], fail)
    paid.add(session)
    survey.add(session)
    return paid.recorded(survey.finish(), PricesConfig()), paid.waits()


def test_what_was_paid_is_each_token_at_its_price() -> None:
    found, _ = recorded(*MAIN, SUB)
    assert found is not None
    read, five_minutes, hour, plain, outputs = 1400, 1200, 1300, 100, 40
    cost = (0.1 * read + 1.25 * five_minutes + 2.0 * hour + plain + 5 * outputs) / 1e6
    assert found["paid"]["cost"] == pytest.approx(cost)
    assert found["paid"]["uncached"] == pytest.approx((4000 + 5 * outputs) / 1e6)
    assert found["hit_rate"] == read / 4000
    assert found["written_by_ttl"] == [
        {"ttl_s": None, "tokens": 0},
        {"ttl_s": 300.0, "tokens": 1200},
        {"ttl_s": 3600.0, "tokens": 1300},
    ]


def test_hits_stand_by_what_opened_a_request_and_its_gap() -> None:
    found, waits = recorded(*MAIN, SUB)
    assert found is not None
    rows = [(row["opened_by"], row["gap_s"], row["requests"], row["hit_rate"]) for row in found["by_gap"]]
    assert rows == [
        ("start", None, 2, 400 / 1500),
        ("tool", [0.0, 60.0], 1, 1000 / 1200),
        ("human", [300.0, 3600.0], 1, 0.0),
    ]
    assert (waits["tool_s"]["max"], waits["human_s"]["max"], waits["notice_s"]["n"]) == (2.0, 400.0, 0)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("project", {"p": 4}),
        ("model", {"m": 3, "small": 1}),
        ("kind", {"main agent": 3, "Explore": 1}),
    ],
)
def test_sums_by_name_add_up_to_the_whole(by: str, expected: dict[str, int]) -> None:
    found, _ = recorded(*MAIN, SUB)
    assert found is not None
    rows = found[f"by_{by}"]
    assert {row[by]: row["requests"] for row in rows} == expected
    assert sum(row["cost"] for row in rows) == pytest.approx(found["paid"]["cost"])


def test_amplification_is_what_was_computed_over_what_no_cache_could_have_held() -> None:
    found, _ = recorded(*MAIN, SUB)
    assert found is not None
    assert found["prefill_amplification"] == pytest.approx((1000 + 200 + 1300 + 100) / 1300)


def test_requests_that_say_nothing_of_a_cache_give_no_answer() -> None:
    assert recorded(request(0, 1000, None))[0] is None
