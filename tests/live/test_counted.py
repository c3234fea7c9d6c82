"""What a live run counts of turns that never left, of sessions that never ended, and in whose tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Asked, listed, reply, scripted
from whole import Ended, lived, written

LAX = {"send_lag_p99_s": 60, "loop_lag_p99_s": 60, "cpu_share": 9, "cpu_wait_share": 1, "clock_offset_s": 60}
TTFT_S, SESSION_S = 1.2, 1.0
FLEET = {
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 2000,
        "decode_base_s": 0.002,
        "kv_capacity_tokens": 100_000,
    }
}


def prompts(count: int, think_s: float) -> dict[str, Any]:
    return {
        "kind": "prompt_set",
        "prompts": count,
        "prompt_tokens": 2000,
        "output_tokens": 4,
        "turns": 99_991,
        "think_s": {"median": think_s, "sigma": 0},
    }


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Eight sessions for a server that takes one request at a time, for a second each."""
    folder = tmp_path_factory.mktemp("gated") / "run"
    return lived(
        folder,
        written(
            folder,
            workload=prompts(1000, 0.05),
            load={
                "agents": 8,
                "ramp_s": 0,
                "duration_s": 1.5,
                "drain_s": 3,
                "admission": {"max_in_flight": 1},
            },
            fleet=FLEET,
            hosts={"count": 1},
            slo=[
                {"metric": "effective_ttft_s", "quantile": 0.5, "at_most": TTFT_S},
                {"metric": "session_s", "quantile": 0.5, "at_most": SESSION_S},
            ],
            audit=LAX,
        ),
    )


def test_a_turn_that_never_left_has_a_row_and_is_not_among_those_sent(gated: Ended) -> None:
    unsent = [row for row in gated.rows if row["error_class"] == "unsent"]
    counts = gated.summary["requests"]
    assert len(unsent) >= 6
    assert counts["unsent"] == len(unsent)
    assert counts["sent"] == len(gated.rows) - len(unsent) == counts["finished"]
    assert counts["interrupted"] == 0
    for row in unsent:
        assert (row["outcome"], row["attempts"], row["sent_s"]) == ("interrupted", 0, None)
        assert row["admission_wait_s"] == pytest.approx(row["completed_s"] - row["intended_s"])


def test_a_turn_that_waited_past_a_bound_is_a_miss_of_it(gated: Ended) -> None:
    first_token_s = [row["first_token_s"] - row["intended_s"] for row in gated.rows if row["sent_s"]]
    late = [
        row
        for row in gated.rows
        if row["error_class"] == "unsent" and row["completed_s"] - row["intended_s"] > TTFT_S
    ]
    good = sum(each <= TTFT_S for each in first_token_s)
    told = gated.summary["slo"]["objectives"][0]
    assert late
    assert told["count"] == len(first_token_s) + len(late)
    assert told["good_share"] == pytest.approx(good / told["count"])
    assert gated.code == 99


def test_a_session_that_never_ended_took_as_long_as_it_had(gated: Ended) -> None:
    told = gated.summary["slo"]["objectives"][1]
    assert (told["value"], told["count"], told["good_share"], told["met"]) == (None, 8, 0.0, False)
    assert any(
        note.startswith(f"8 sessions had taken longer than {SESSION_S:g} s")
        for note in gated.summary["notes"]
    )


TOKEN_BYTES = 2
"""Of the server; the experiment plans with four."""
HIT_TOKENS = 3968
"""Of a prompt that it knows."""


def counting(asked: Asked) -> bytes:
    """Answer as a server with small tokens, whose cache holds what it was ever sent."""
    if asked.method == "GET":
        return listed("m") if asked.path.endswith("/models") else reply("404 Not Found", b"")
    prompt = json.dumps(asked.data["messages"])
    hit = HIT_TOKENS if prompt in counting.known else 0  # type: ignore[attr-defined]
    counting.known.add(prompt)  # type: ignore[attr-defined]
    count = asked.data["max_tokens"]
    sent = sum(len(message["content"]) for message in asked.data["messages"]) // TOKEN_BYTES
    usage = {
        "prompt_tokens": sent,
        "completion_tokens": count,
        "prompt_tokens_details": {"cached_tokens": hit},
    }
    choices = [
        [{"index": 0, "delta": {"content": "a "}, "finish_reason": "length" if at == count - 1 else None}]
        for at in range(count)
    ]
    events = [*({"choices": each} for each in choices), {"choices": [], "usage": usage}]
    text = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return reply("200 OK", text + b"data: [DONE]\n\n", "text/event-stream")


def test_ideal_hits_are_in_the_tokens_of_the_server(tmp_path: Path) -> None:
    counting.known = set()  # type: ignore[attr-defined]
    folder = tmp_path / "run"
    with scripted(counting) as url:
        run = lived(
            folder,
            written(
                folder,
                workload=prompts(1, 0.05),
                load={"agents": 1, "duration_s": 1, "drain_s": 3},
                target={"urls": [url], "model": "m", "bytes_per_token": 4, "overhead_tokens": 0},
                hosts={"count": 1},
                audit=LAX,
            ),
        )
    first, *others = run.rows
    assert run.code == 0, run.said
    assert {row["planned_prompt_tokens"] for row in run.rows} == {2000}
    assert {row["prompt_tokens"] for row in run.rows} == {4000}
    assert (first["ideal_tokens"], first["cached_tokens"]) == (0, 0)
    assert others
    assert {(row["ideal_tokens"], row["cached_tokens"]) for row in others} == {(4000, HIT_TOKENS)}
    share = len(others) / len(run.rows)
    assert run.summary["cache"]["ideal_hit_rate"] == pytest.approx(share)
    assert run.summary["cache"]["hit_rate"] == pytest.approx(share * HIT_TOKENS / 4000)
    assert run.summary["hit_rates"]["ideal"]["hit_rate"] == pytest.approx(share)
