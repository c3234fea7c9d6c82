"""Logs of single tools: whose a file is, what waits for what, what counts the same request again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import TraceError
from swarm.workload.formats import open_format, pass_over
from swarm.workload.recorded import RecordedRequest, RecordedSession

KIMI_HEAD = {"type": "metadata", "protocol_version": "1.4", "created_at": 1_785_615_359_837}


def read(path: Path) -> tuple[list[RecordedSession], list[str], Any]:
    opened, errors = open_format("auto"), list[TraceError]()
    units = opened.units(opened.files([path], pass_over), pass_over)
    found = [session for unit in units for session in opened.read_unit(unit, errors.append)]
    return found, [f"{error.place}: {error.reason}" for error in errors], next(iter(opened.tallies.values()))


def write(path: Path, *values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, values)))
    return path


def step(name: str, second: int, tokens: int) -> dict[str, Any]:
    usage = {"inputOther": tokens, "output": 7, "inputCacheRead": 0, "inputCacheCreation": 0}
    event = {
        "type": "step.end",
        "uuid": name,
        "usage": usage,
        "llmFirstTokenLatencyMs": 5,
        "llmStreamDurationMs": 5,
    }
    return {"type": "context.append_loop_event", "time": 1_785_613_800_000 + 1000 * second, "event": event}


def inputs(session: RecordedSession) -> dict[str, list[int]]:
    main = [each.input_tokens for each in session.entries if isinstance(each, RecordedRequest)]
    agents = {each.agent_id: [r.input_tokens for r in each.requests] for each in session.subagents()}
    return {"": main, **agents}


def test_files_of_kimi_that_are_all_called_alike_are_sessions_and_agents_by_their_folders(
    tmp_path: Path,
) -> None:
    for place, name, tokens in (
        ("s1/agents/main", "a", 1),
        ("s1/agents/x", "b", 2),
        ("s2/agents/main", "c", 3),
    ):
        asked = {"type": "llm.request", "model": "m"}
        write(tmp_path / place / "wire.jsonl", KIMI_HEAD, asked, step(name, tokens, tokens))
    found, _, _ = read(tmp_path)
    assert {session.id: inputs(session) for session in found} == {"s1": {"": [1], "x": [2]}, "s2": {"": [3]}}


def test_a_request_of_kimi_that_does_not_end_is_said(tmp_path: Path) -> None:
    asked = {"type": "llm.request", "model": "m"}
    _, _, tally = read(write(tmp_path / "s.jsonl", KIMI_HEAD, asked, step("a", 1, 1), asked))
    assert list(tally.missing.values()) == [1]


def qwen(**more: Any) -> dict[str, Any]:
    return {"sessionId": "s", "timestamp": "2026-05-05T11:08:46Z", **more}


@pytest.mark.parametrize(("told", "expected"), [(True, [(100, 12)]), (False, [(90, 8)])])
def test_a_reply_of_qwen_counts_where_no_telemetry_does(tmp_path: Path, told: bool, expected: Any) -> None:
    event = {"input_token_count": 100, "output_token_count": 12, "total_token_count": 112, "duration_ms": 900}
    usage = {
        "promptTokenCount": 90,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 3,
        "totalTokenCount": 98,
    }
    lines = [
        qwen(type="user", message={"role": "user", "parts": []}),
        qwen(type="system", subtype="ui_telemetry", systemPayload={"uiEvent": event if told else {}}),
        qwen(type="assistant", message={"role": "model", "parts": []}, usageMetadata=usage),
    ]
    (session,), _, _ = read(write(tmp_path / "x.jsonl", *lines))
    assert [(each.input_tokens, each.output_tokens) for each in session.requests()] == expected


def event(kind: str, second: int, **data: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "id": f"e{second}",
        "parentId": None,
        "timestamp": f"2026-01-01T00:00:{second:02d}Z",
        "data": data,
    }


def test_prompts_of_copilot_without_counts_are_as_long_as_their_words(tmp_path: Path) -> None:
    lines = [
        event("session.start", 0, sessionId="s", selectedModel="m", context={"cwd": "/p"}),
        event("system.message", 1, content="a rule " * 100),
        event("user.message", 2, content="do it"),
        event("assistant.message", 5, messageId="m1", content="yes", outputTokens=7),
        event("tool.execution_complete", 8, result={"content": "x" * 400}),
        event("assistant.message", 9, messageId="m2", content="done", outputTokens=5),
    ]
    (session,), errors, tally = read(write(tmp_path / "events.jsonl", *lines))
    one, two = session.requests()
    assert (session.id, session.project, errors) == ("s", "/p", [])
    assert one.input_tokens == (700 + 5) // 4
    assert two.input_tokens > one.input_tokens + 100
    assert list(one.hash_ids[:2]) == list(two.hash_ids[:2])
    assert (two.think_s, two.input_types) == (3.0, ("tool_result",))
    assert tally.inferred["prompts, by the words that the log has of them"] == 2


def row(name: str, session: str, **more: Any) -> dict[str, Any]:
    made = {"request_id": name, "session_id": session, "input_length": 130, "output_length": 7}
    return {**made, "hash_ids": [1, 2, 3], **more}


def test_rows_of_agentic_mooncake_start_after_what_they_wait_for(tmp_path: Path) -> None:
    rows = [
        row("a1", "a", timestamp=1000),
        row("b1", "b", wait_for=["a1"], delay=500),
        row("a2", "a", wait_for=["a1", "b1"], delay=100, tool_wait_ms=400, input_length=190),
    ]
    (session,), errors, tally = read(write(tmp_path / "x.jsonl", *reversed(rows)))
    (agent,) = session.subagents()
    main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    assert errors == []
    assert ([each.t_s for each in main], agent.t_s, agent.agent_id) == ([1.0, 2.0], 1.5, "b")
    assert main[1].input_types == ("tool_result",)
    assert session.block_tokens == 64
    assert list(main[0].hash_ids) == list(main[1].hash_ids)[:2]
    assert tally.inferred["blocks of 64 tokens, from lengths and their counts of ids"] == 3


HEADER = {"schema": "dynamo.agentic_mooncake", "version": 2, "block_size": 64, "hash_id_scope": "local"}


def test_plays_of_agentic_mooncake_share_no_blocks_where_their_ids_are_local(tmp_path: Path) -> None:
    edge = {"request_id": "p1", "relation": "spawn", "trigger": "dispatch", "delay_ms": 25}
    rows = [
        row("p1", "root", play_id="p", not_before_ms=0, recorded_api_time_ms=1000),
        row("p2", "sub", play_id="p", not_before_ms=10, recorded_api_time_ms=300, dependencies=[edge]),
        row("q1", "root", play_id="q", not_before_ms=0),
    ]
    (one, two), errors, _ = read(write(tmp_path / "x.jsonl", HEADER, *rows))
    (agent,) = one.subagents()
    first, other = (next(iter(session.requests())) for session in (one, two))
    assert errors == []
    assert (agent.t_s, agent.duration_s, first.api_s) == (0.025, 0.3, 1.0)
    assert list(agent.requests[0].hash_ids) == list(first.hash_ids)
    assert not set(first.hash_ids) & set(other.hash_ids)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([HEADER | {"version": 7}], "version: must be one of"),
        (
            [row("a", "s", wait_for=["b"]), row("b", "s", wait_for=["a"])],
            "waits for a request that waits for it",
        ),
        ([row("a", "s", hash_ids=[1]), row("b", "s", input_length=9)], "blocks of no size"),
        ([row("a", "s", hash_ids=[-1])], "hash_ids: must be a list"),
    ],
)
def test_agentic_mooncake_that_cannot_be_is_named(tmp_path: Path, rows: list[Any], reason: str) -> None:
    _, errors, _ = read(write(tmp_path / "x.jsonl", *rows))
    assert any(reason in error for error in errors)


def test_a_round_of_tracelab_starts_at_its_last_input_and_has_a_first_token(tmp_path: Path) -> None:
    def at(kind: str, second: int) -> dict[str, Any]:
        return {"event_type": kind, "timestamp": f"2026-05-31T12:00:{second:02d}Z"}

    made = {"session_id": "s", "input_tokens_total": 1004, "prefix_tokens": 900, "newly_append_tokens": 104}
    rows = [
        {
            **made,
            "trace_key": "1",
            "timing_events": [at("user_message", 1), at("text", 4), at("tool_call", 5)],
        },
        {
            **made,
            "trace_key": "2",
            "timing_events": [at("tool_result", 6), at("tool_result", 7), at("text", 9)],
        },
        {**made, "trace_key": "2", "timing_events": []},
    ]
    (session,), _, _ = read(write(tmp_path / "x.jsonl", *rows))
    told = [(each.api_s, each.ttft_s, each.think_s, each.input_types) for each in session.requests()]
    assert told == [(4.0, 3.0, None, ("text",)), (2.0, 2.0, 2.0, ("tool_result",))]


def test_pi_times_a_request_by_the_replys_own_stamp(tmp_path: Path) -> None:
    usage = {"input": 12, "output": 7, "cacheRead": 900, "cacheWrite": 100}
    reply = {"role": "assistant", "usage": usage, "timestamp": 1_778_547_747_721, "content": [], "model": "m"}
    lines = [
        {"type": "session", "version": 3, "id": "s", "timestamp": "2026-05-12T01:02:27Z", "cwd": "/p"},
        {
            "type": "message",
            "id": "a",
            "parentId": None,
            "timestamp": "2026-05-12T01:02:29Z",
            "message": reply,
        },
        {"type": "compaction", "id": "c", "parentId": "a", "timestamp": "2026-05-12T01:02:30Z"},
    ]
    (session,), _, tally = read(write(tmp_path / "x.jsonl", *lines))
    (request,) = session.requests()
    assert (session.id, session.project) == ("s", "/p")
    assert (request.t_s, request.input_tokens) == (1_778_547_747.721, 1012)
    assert sum(tally.missing.values()) == 1
