"""Logs with a row a request: counts by each format's own rule, sessions, agents, words as blocks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from swarm.errors import TraceError
from swarm.workload.formats import fail, open_format, pass_over
from swarm.workload.formats.agent_logs.readers import PARSERS
from swarm.workload.recorded import RecordedSession

WORDS = "".join(f"{n:08d}" for n in range(400))
NS = 1_753_828_000_000_000_000


def span(name: str, start_s: float, end_s: float, parent: str = "", **said: Any) -> dict[str, Any]:
    attributes = [
        {
            "key": key.replace("__", "."),
            "value": {"intValue": str(v)} if type(v) is int else {"stringValue": v},
        }
        for key, v in said.items()
    ]
    return {
        "traceId": "t",
        "spanId": name,
        "parentSpanId": parent,
        "attributes": attributes,
        "startTimeUnixNano": str(NS + int(start_s * 1e9)),
        "endTimeUnixNano": str(NS + int(end_s * 1e9)),
    }


def call(name: str, start_s: float, parent: str, inputs: int, read: int, **more: Any) -> dict[str, Any]:
    said = {
        "gen_ai__operation__name": "chat",
        "gen_ai__request__model": "m",
        "gen_ai__usage__input_tokens": inputs,
        "gen_ai__usage__output_tokens": 7,
        "gen_ai__usage__cache_read__input_tokens": read,
    }
    return span(name, start_s, start_s + 1, parent, **{**said, **more})


AGENT = {"gen_ai__operation__name": "invoke_agent", "gen_ai__usage__input_tokens": 9_999}
OTEL = {
    "resourceSpans": [
        {
            "resource": {"attributes": []},
            "scopeSpans": [
                {
                    "spans": [
                        span("a", 0, 60, "", gen_ai__conversation__id="s", **AGENT),
                        call("c1", 1, "a", 2000, 0),
                        span("x", 3, 50, "a", gen_ai__operation__name="execute_tool"),
                        span("b", 4, 40, "x", gen_ai__agent__name="explorer", **AGENT),
                        call("c2", 5, "b", 500, 0),
                        call("c3", 50, "a", 3000, 1920),
                    ]
                }
            ],
        }
    ]
}
LITELLM = {
    "request_id": "r1",
    "call_type": "acompletion",
    "session_id": "s",
    "startTime": "2025-01-24 09:20:46.5",
    "endTime": "2025-01-24 09:20:50",
    "completionStartTime": "2025-01-24 09:20:47.5",
    "model": "m",
    "prompt_tokens": 2000,
    "completion_tokens": 7,
    "status": "success",
    "metadata": json.dumps({"usage_object": {"prompt_tokens_details": {"cached_tokens": 1920}}}),
}
BODY = {"model": "m", "messages": [{"role": "system", "content": WORDS}, {"role": "user", "content": "x"}]}
BODIES = {
    "timestamp": 1_753_828_000.5,
    "duration_ms": 2000,
    "session_id": "s",
    "request": BODY,
    "response": {
        "id": "r",
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 896},
        },
        "choices": [{"finish_reason": "stop"}],
    },
}
ANTHROPIC = {
    "timestamp": "2026-01-01T00:00:00Z",
    "request": {
        "body": {
            "model": "m",
            "system": [{"type": "text", "text": WORDS, "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "x"}],
            "metadata": {"user_id": "user_1_session_s"},
        }
    },
    "response": {
        "body": {
            "id": "r",
            "stop_reason": "tool_use",
            "usage": {
                "input_tokens": 4,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 100,
                "output_tokens": 7,
                "cache_creation": {"ephemeral_1h_input_tokens": 100},
            },
        }
    },
}
RESPONSES = {
    "timestamp": 1_753_828_000_500,
    "session_id": "s",
    "request": {"model": "m", "instructions": WORDS, "input": "x"},
    "response": {
        "id": "r",
        "usage": {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 896},
            "output_tokens": 7,
            "total_tokens": 1007,
        },
    },
}
STREAMED = ANTHROPIC | {
    "response": {
        "body": "\n".join(
            (
                'data: {"type":"message_start","message":{"id":"r","usage":{"input_tokens":4,'
                '"cache_read_input_tokens":900,'
                '"cache_creation_input_tokens":100,"output_tokens":1}}}',
                'data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},'
                '"usage":{"output_tokens":7}}',
            )
        )
    }
}
DYNAMO = {
    "timestamp": 5,
    "event": {
        "schema": "dynamo.request.trace.v1",
        "event_type": "request_end",
        "event_time_unix_ms": 1_777_312_801_000,
        "agent_context": {"session_id": "s"},
        "request": {
            "request_id": "r",
            "model": "m",
            "input_tokens": 130,
            "output_tokens": 7,
            "cached_tokens": 64,
            "request_received_ms": 1_777_312_800_000,
            "total_time_ms": 900,
            "ttft_ms": 250,
            "replay": {
                "trace_block_size": 64,
                "input_length": 130,
                "input_sequence_hashes": [2**64 - 1, 5, 6],
            },
        },
    },
}
OPENCODE = {
    "info": {"id": "s", "directory": "/p"},
    "messages": [
        {
            "info": {
                "id": "m1",
                "sessionID": "s",
                "role": "assistant",
                "time": {"created": 1_766_803_109_115, "completed": 1_766_803_119_115},
                "modelID": "m",
                "tokens": {"input": 100, "output": 4, "reasoning": 3, "cache": {"read": 1000, "write": 500}},
            }
        }
    ],
}
GEMINI = {
    "sessionId": "s",
    "projectHash": "p",
    "messages": [
        {"type": "user", "timestamp": "2025-12-16T23:47:01Z", "content": "x"},
        {
            "type": "gemini",
            "id": "g",
            "timestamp": "2025-12-16T23:47:05Z",
            "model": "m",
            "tokens": {"input": 1000, "output": 4, "cached": 600, "thoughts": 3, "total": 1007},
        },
    ],
}
KIMI = {
    "type": "context.append_loop_event",
    "time": 1_785_613_801_000,
    "event": {
        "type": "step.end",
        "uuid": "u",
        "usage": {
            "inputOther": 400,
            "output": 7,
            "inputCacheRead": 512,
            "inputCacheCreation": 0,
        },
        "finishReason": "end_turn",
        "llmFirstTokenLatencyMs": 3000,
        "llmStreamDurationMs": 1000,
    },
}
BAILIAN = {
    "chat_id": 1,
    "parent_chat_id": -1,
    "timestamp": 3.5,
    "input_length": 40,
    "output_length": 7,
    "type": "text",
    "turn": 1,
    "hash_ids": [7, 8, 9],
}
LANGFUSE = {
    "id": "o",
    "type": "GENERATION",
    "traceId": "t",
    "sessionId": "s",
    "startTime": "2026-01-01T00:00:00Z",
    "endTime": "2026-01-01T00:00:04Z",
    "completionStartTime": "2026-01-01T00:00:01Z",
    "model": "m",
    "usageDetails": {"input": 100, "cache_read_input_tokens": 900, "output": 7, "total": 1007},
}
OPENROUTER = {
    "data": {
        "id": "g",
        "created_at": "2024-07-15T23:33:19+00:00",
        "model": "m",
        "latency": 1250,
        "generation_time": 1200,
        "tokens_prompt": 3,
        "native_tokens_prompt": 1000,
        "native_tokens_cached": 896,
        "native_tokens_completion": 7,
    }
}

CAPTURED = {
    "schema": "swarm.capture.v1",
    "number": 1,
    "api": "messages",
    "start_s": 1_753_828_000.5,
    "first_token_ms": 120.5,
    "end_ms": 900,
    "status": 200,
    "outcome": "ok",
    "model": "m",
    "session": "s",
    "agent": "a",
    "parent": "",
    "kind": "",
    "opened_by": "human",
    "input_tokens": 1004,
    "read_tokens": 900,
    "written_tokens": 100,
    "written_1h_tokens": 0,
    "output_tokens": 7,
    "deltas": 6,
    "stop": "tool_use",
    "output_types": ["text"],
    "content_bytes": 150,
    "base": None,
    "shared": 0,
    "hashes": "AQAAAAAAAAACAAAAAAAAAA==",
}
EACH: list[tuple[str, dict[str, Any], list[tuple[int, int, int | None, int | None]]]] = [
    ("otel", OTEL, [(2000, 7, 0, 0), (500, 7, 0, 0), (3000, 7, 1920, 0)]),
    ("litellm", LITELLM, [(2000, 7, 1920, 0)]),
    ("bodies", BODIES, [(1000, 7, 896, 0)]),
    ("bodies", ANTHROPIC, [(1004, 7, 900, 100)]),
    ("bodies", STREAMED, [(1004, 7, 900, 100)]),
    ("bodies", RESPONSES, [(1000, 7, 896, 0)]),
    ("dynamo", DYNAMO, [(130, 7, 64, 0)]),
    ("opencode", OPENCODE, [(1600, 7, 1000, 500)]),
    ("gemini", GEMINI, [(1000, 7, 600, 0)]),
    ("kimi", KIMI, [(912, 7, 512, 0)]),
    ("bailian", BAILIAN, [(40, 7, None, None)]),
    ("langfuse", LANGFUSE, [(1000, 7, 900, 0)]),
    ("openrouter", OPENROUTER, [(1000, 7, 896, 0)]),
    ("capture", CAPTURED, [(1004, 7, 900, 100)]),
]


def write(path: Path, *values: Any) -> Path:
    path.write_text("\n".join(json.dumps(value) for value in values))
    return path


def sessions(path: Path, format: str = "auto") -> list[RecordedSession]:
    opened = open_format(format)
    units = opened.units(opened.files([path], pass_over), pass_over)
    return [session for unit in units for session in opened.read_unit(unit, fail)]


@pytest.mark.parametrize(("format", "value", "expected"), EACH)
def test_a_row_is_told_by_its_content_and_counted_by_its_own_rule(
    tmp_path: Path, format: str, value: dict[str, Any], expected: list[tuple[int, ...]]
) -> None:
    by_content = sessions(write(tmp_path / "x.jsonl", value))
    assert by_content == sessions(tmp_path / "x.jsonl", format)
    found = [
        (each.input_tokens, each.output_tokens, each.read_tokens, each.written_tokens)
        for session in by_content
        for each in session.requests()
    ]
    assert found == expected


@pytest.mark.parametrize("shape", ["lines", "pretty", "several", "list", "mark", "parquet", "zst"])
def test_a_shape_of_a_file_changes_nothing(tmp_path: Path, shape: str) -> None:
    rows = [LITELLM, LITELLM | {"request_id": "r2", "startTime": "2025-01-24 09:20:48"}]
    file = (
        tmp_path
        / f"x.{'jsonl' if shape in ('lines', 'mark') else 'parquet' if shape == 'parquet' else 'json'}"
    )
    texts = {
        "lines": "\n".join(map(json.dumps, rows)),
        "mark": "\ufeff" + "\n".join(map(json.dumps, rows)),
        "pretty": json.dumps(rows, indent=1),
        "several": "\n".join(json.dumps(row, indent=1) for row in rows),
        "list": json.dumps(rows),
    }
    if shape == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), file)
    elif shape == "zst":
        file.write_bytes(pa.compress(texts["lines"].encode(), codec="zstd", asbytes=True))
    else:
        file.write_text(texts[shape])
    (session,) = sessions(tmp_path)
    assert [each.input_tokens for each in session.requests()] == [2000, 2000]


def test_spans_of_agents_are_a_tree_and_their_own_counts_are_not_added(tmp_path: Path) -> None:
    (session,) = sessions(write(tmp_path / "x.json", OTEL))
    (agent,) = session.subagents()
    assert (session.id, agent.kind, len(agent.requests)) == ("s", "explorer", 1)
    assert len(list(session.requests())) == 3


def test_a_provider_whose_cached_part_is_more_than_its_input_counts_both(tmp_path: Path) -> None:
    spans = [call("c1", 0, "", 10, 900), call("c2", 5, "", 1500, 1000)]
    value = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    found = [
        each.input_tokens
        for session in sessions(write(tmp_path / "x.json", value))
        for each in session.requests()
    ]
    assert found == [910, 2500]


@pytest.mark.parametrize(("changed", "shared"), [("the end", True), ("the beginning", False)])
def test_words_that_begin_alike_share_their_blocks(tmp_path: Path, changed: str, shared: bool) -> None:
    other = copy.deepcopy(BODIES)
    other["timestamp"] += 60
    other["response"]["id"] = "r2"
    place = other["request"]["messages"][1 if shared else 0]
    place["content"] = f"{changed} {place['content']}"
    (session,) = sessions(write(tmp_path / "x.jsonl", BODIES, other))
    one, two = (list(each.hash_ids) for each in session.requests())
    assert bool(set(one) & set(two)) is shared
    assert not shared or one[:-2] == two[: len(one) - 2]


def test_a_mark_of_what_to_cache_is_no_content(tmp_path: Path) -> None:
    other = copy.deepcopy(ANTHROPIC)
    del other["request"]["body"]["system"][0]["cache_control"]
    other["response"]["body"]["id"] = "r2"
    other["timestamp"] = "2026-01-01T00:00:09Z"
    (session,) = sessions(write(tmp_path / "x.jsonl", ANTHROPIC, other))
    one, two = (list(each.hash_ids) for each in session.requests())
    assert one[:-1] == two[:-1]


def test_times_stand_in_whatever_unit(tmp_path: Path) -> None:
    starts = set()
    for number, at in enumerate(
        (1753828000, 1753828000000, 1753828000000000, "2025-07-29T22:26:40Z", "1753828000")
    ):
        (session,) = sessions(write(tmp_path / f"{number}.jsonl", BODIES | {"timestamp": at}))
        starts |= {each.t_s for each in session.requests()}
    assert starts == {1753828000.0}


def test_what_no_provider_saw_is_no_request(tmp_path: Path) -> None:
    rows = [
        LITELLM | {"request_id": "c", "cache_hit": "True"},
        LITELLM | {"request_id": "f", "status": "failure"},
    ]
    assert [len(list(s.requests())) for s in sessions(write(tmp_path / "x.jsonl", LITELLM, *rows))] == [1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    return [at, *(place for key, inner in members for place in places(inner, (*at, key)))]


@pytest.mark.parametrize(("format", "value"), [(name, value) for name, value, _ in EACH])
@settings(deadline=None)
@given(data=st.data())
def test_whatever_a_value_holds_is_read_or_named(
    tmp_path_factory, format: str, value: Any, data: Any
) -> None:
    changed = copy.deepcopy(value)
    *before, last = data.draw(st.sampled_from(places(value)[1:]))
    owner = changed
    for key in before:
        owner = owner[key]
    owner[last] = data.draw(JSON)
    path = tmp_path_factory.mktemp("any") / "x.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in (changed, data.draw(JSON), value)))
    opened, errors = open_format(format), list[TraceError]()
    for unit in opened.units([path], pass_over):
        for session in opened.read_unit(unit, errors.append):
            for request in session.requests():
                assert len(request.hash_ids) <= request.input_tokens // session.block_tokens


def test_every_parser_is_tried() -> None:
    assert {format for format, _, _ in EACH} == set(PARSERS)
