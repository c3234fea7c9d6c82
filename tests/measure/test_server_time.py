"""A server over time: counts from look to look, through restarts, and where they stand in the windows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from swarm.live.targets.server_sample import read_sample
from swarm.measure.series import series
from swarm.measure.server_time import (
    ServerSample,
    counted,
    restarts_s,
    server_notes,
    server_summary,
    with_server,
)
from swarm.measure.window import Windows


def look(
    at_s: float, hits: int, queries: int, *, began_s: float | None = 1_000.0, **gauges: float
) -> ServerSample:
    counts = {"cached_tokens": hits, "prompt_tokens": queries, "output_tokens": hits, "preemptions": 0}
    return ServerSample(at_s, "vllm", gauges, counts, {"local_compute": queries - hits}, began_s)


STEADY = [
    look(0.0, 100, 1_000, running=1, waiting=0, kv_use=0.1),
    look(1.0, 200, 1_500, running=3, waiting=2, kv_use=0.3),
    look(2.0, 700, 2_500, running=2, waiting=4, kv_use=0.2),
]
BACK = [*STEADY, look(5.0, 10, 400), look(6.0, 20, 500)]
AHEAD = [*STEADY, look(50.0, 900, 3_000, began_s=1_020.0), look(51.0, 910, 3_100, began_s=1_020.0)]
"""Restarted, and then it has counted more than before."""


@pytest.mark.parametrize(
    ("samples", "seen_s", "hits", "queries"),
    [
        (STEADY, (), 600, 1_500),
        (BACK, (5.0,), 600 + 20, 1_500 + 500),
        (AHEAD, (50.0,), 600 + 910, 1_500 + 3_100),
    ],
)
def test_counts_go_on_through_restarts(
    samples: list[ServerSample], seen_s: tuple[float, ...], hits: int, queries: int
) -> None:
    assert restarts_s(samples) == seen_s
    found = counted(samples)
    assert found is not None
    assert (found.hit_tokens, found.query_tokens) == (hits, queries)


def test_one_look_counts_nothing() -> None:
    assert counted(STEADY[:1]) is None
    assert server_summary(STEADY[:1]) is None


def test_gauges_are_means_and_peaks() -> None:
    found = server_summary(STEADY)
    assert found is not None
    assert (found["running_mean"], found["running_max"]) == (2.0, 3)
    assert (found["waiting_max"], found["kv_use_max"]) == (4, 0.3)
    assert (found["preemptions"], found["restarts"], found["samples"]) == (0, 0, 3)
    assert found["tokens_by_source"] == {"local_compute": 900}


def table(seconds: int) -> pa.Table:
    windows = Windows(window_s=1.0, origin_s=0.0)
    windows.agent_started(0.1, host=0, is_subagent=False)
    windows.agent_ended(seconds - 0.5, host=1, is_subagent=False)
    return series(windows)


def test_windows_hold_what_came_on_in_them() -> None:
    rows = with_server(table(4), STEADY).to_pylist()
    whole = [row for row in rows if row["host"] is None]
    assert [row["server_prompt_tokens"] for row in whole] == [None, 500, 1_000, None]
    assert [row["server_waiting"] for row in whole] == [0, 2, 4, None]
    assert dict(whole[2]["server_tokens_by_source"]) == {"local_compute": 500}
    assert all(row["server_running"] is None for row in rows if row["host"] is not None)


def test_without_looks_the_columns_are_null() -> None:
    assert with_server(table(2), []).column("server_running").null_count == table(2).num_rows


def summary(source: str | None, family: str = "vllm") -> dict[str, Any]:
    return {"cache": {"hit_rate_from": source}, "hit_rates": {"counters": {"family": family}}}


@pytest.mark.parametrize(
    ("samples", "told", "words"),
    [
        (STEADY, summary("usage"), []),
        (BACK, summary("usage"), ["the server began anew: seen at 5 s"]),
        (STEADY, summary("counters"), ["--enable-prompt-tokens-details"]),
        (STEADY, summary("counters", "sglang"), ["--enable-cache-report"]),
        ([], summary(None), []),
    ],
)
def test_a_reader_is_told(samples: list[ServerSample], told: dict[str, Any], words: list[str]) -> None:
    notes = server_notes(samples, told)
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


PAGE = """# HELP any thing
vllm:num_requests_running{engine="0"} 3.0
vllm:num_requests_running{engine="1"} 4.0
vllm:num_requests_waiting{engine="0"} 1.0
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:kv_cache_usage_perc{engine="1"} 0.7
vllm:num_preemptions_total{engine="0"} 2.0
vllm:prefix_cache_queries_total{engine="0"} 100.0
vllm:prefix_cache_hits_total{engine="0"} 60.0
vllm:external_prefix_cache_hits_total{engine="0"} 5.0
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 35.0
vllm:prompt_tokens_by_source_total{engine="0",source="local_cache_hit"} 60.0
process_start_time_seconds 1000.5
"""


def test_a_look_reads_what_engines_publish() -> None:
    found = read_sample([PAGE], 7.0)
    assert found == ServerSample(
        at_s=7.0,
        family="vllm",
        gauges={"running": 7.0, "waiting": 1.0, "kv_use": pytest.approx(0.6)},
        counts={"preemptions": 2.0, "prompt_tokens": 100.0, "cached_tokens": 65.0},
        by_source={"local_compute": 35.0, "local_cache_hit": 60.0},
        began_s=1000.5,
        servers=1,
    )


@pytest.mark.parametrize(
    "texts", [[], [""], [PAGE, "other_metric 1\n"], ["vllm:num_requests_running{x} nan\n"]]
)
def test_where_nothing_is_known_nothing_is_seen(texts: list[str]) -> None:
    assert read_sample(texts, 0.0) is None
