"""What a run's page says first, and the sentence above each chart."""

import copy
from typing import Any

import pandas as pd
import pytest

from swarm.records.run_folder import RunFolder
from swarm.report.run.answer import agents_found, answer
from swarm.report.run.frames import over_time
from swarm.report.run.remarks import is_same_latency, remarks


@pytest.fixture
def summary(sample_run: RunFolder) -> dict[str, Any]:
    """A run's summary of the test's own."""
    return copy.deepcopy(sample_run.summary())


def texts(summary: dict[str, Any]) -> list[str]:
    return [sentence.text for sentence in answer(summary)]


def test_an_invalid_run_is_told_first_with_its_reason(summary: dict[str, Any]) -> None:
    summary |= {"valid": False, "invalid_reasons": ["hosts were starved"]}
    first = answer(summary)[0]

    assert first.tone == "bad"
    assert first.text == "Invalid: do not use these numbers. hosts were starved"


def test_of_a_run_in_which_nothing_finished_neither_latency_nor_cache_is_told(
    summary: dict[str, Any],
) -> None:
    summary["requests"]["finished"] = 0
    summary["effective_ttft_s"] = {}
    summary["cache"]["hit_rate"] = None
    said = " ".join(texts(summary))

    assert "first token" not in said and "cache" not in said and "\N{EN DASH}" not in said


def test_a_missed_objective_stands_before_one_that_is_met(summary: dict[str, Any]) -> None:
    met = {**summary["slo"]["objectives"][0], "name": "a", "met": True}
    missed = {**met, "name": "b", "met": False, "good_share": 0.5, "required_share": 0.95}
    summary["slo"]["objectives"] = [met, missed]
    said = [text for text in texts(summary) if text[:2] in ("a:", "b:")]

    assert [text.split(";")[0] for text in said] == ["b: missed", "a: met"]
    assert "50.0 % of" in said[0] and "95.0 % needed" in said[0]


def test_what_was_not_observed_is_not_told_in_dashes(summary: dict[str, Any]) -> None:
    summary["throughput"] = dict.fromkeys(summary["throughput"])
    summary["slo"]["objectives"] = [
        {**summary["slo"]["objectives"][0], "name": "a", "met": None, "value": None, "good_share": None}
    ]
    said = texts(summary)

    assert "a: not observed; at most 4 s wanted." in said
    assert not any("–" in text or "too few" in text for text in said)


def test_what_bound_the_run_is_told(summary: dict[str, Any]) -> None:
    prefill = {"name": "prefill", "share": 0.97, "told": "time in which schedulers computed prompts"}
    summary["saturation"] = {"bound_by": "prefill", "resources": [prefill]}

    assert "Bound by prefill (time in which schedulers computed prompts): prefill 97 %." in texts(summary)


def test_the_greatest_loss_is_named(summary: dict[str, Any]) -> None:
    summary["cache"]["lost_to"] = {"ttl": 0.02, "capacity": 0.05, "unexplained": None}

    assert any(
        "Most was lost to blocks that full tiers had evicted: 5.0 %." in text for text in texts(summary)
    )


def test_failures_are_told_with_the_servers_words_and_the_remedy(summary: dict[str, Any]) -> None:
    summary["requests"] |= {"failed": 7, "sent": 100}
    summary["failures"] = {"http_429": 2, "http_4xx": 5}
    words = {"class": "http_4xx", "example": "400: no such model", "remedy": "Set target.model."}
    summary["failure_reasons"] = [words]

    assert texts(summary)[-1] == (
        "7 of 100 requests failed, most as http_4xx: 400: no such model. Set target.model."
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (67, 76, "67 to 76"),
        (64, 64, "64"),
        (64, None, "at least 64"),
        (0, 4, "fewer than 4"),
        (None, 4, "fewer than 4"),
        (None, None, "an unknown number of"),
    ],
)
def test_agents_of_a_search(low: int | None, high: int | None, said: str) -> None:
    assert agents_found({"agents_low": low, "agents_high": high}) == said


def test_remarks_are_of_the_measured_phase(sample_run: RunFolder, summary: dict[str, Any]) -> None:
    windows = over_time(sample_run)
    before = remarks(summary, windows)["effective_ttft"]
    windows.loc[windows["middle_s"] < summary["measured"]["from_s"], "effective_ttft_s_p95"] = 1e4

    assert remarks(summary, windows)["effective_ttft"] == before


def test_losses_add_up_to_all_prompt_tokens(summary: dict[str, Any]) -> None:
    summary["cache"] |= {"hit_rate": 0.9, "ideal_hit_rate": 0.96, "lost_to": {"ttl": 0.06, "capacity": 0.0}}
    said = remarks(summary, pd.DataFrame())["losses"]

    assert said == "Of 100 prompt tokens 90.0 hit, 6.0 were lost, and 4.0 no cache could have held."


def test_a_search_says_whose_confidence_it_is(summary: dict[str, Any]) -> None:
    found = {"agents_low": 53, "agents_high": 78, "confidence": 0.9}
    summary["capacity"] = found
    assert "in each level's verdict" in remarks(summary, pd.DataFrame())["capacity"]

    summary["capacity"] = found | {"agents_middle": 61.5}
    assert "the curve through all looks" in remarks(summary, pd.DataFrame())["capacity"]


def test_two_latencies_are_one_curve_where_nothing_waits_on_the_client() -> None:
    quantiles = {
        f"{name}_{at}": [1.0, 2.0] for name in ("ttft_s", "effective_ttft_s") for at in ("p50", "p95")
    }
    assert is_same_latency(pd.DataFrame(quantiles))

    assert not is_same_latency(pd.DataFrame({**quantiles, "effective_ttft_s_p95": [1.0, 2.5]}))
