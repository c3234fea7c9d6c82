"""What a small file can make a reader hold: block ids are bounded before they are laid out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import TraceError
from swarm.workload.formats import read_sessions
from swarm.workload.formats.conversations import dag, text

WORDS = "word " * 200
"""1,000 bytes: 250 tokens, 15 blocks."""
DAG: dict[str, list[dict[str, Any]]] = {
    "turns": [{"session_id": "a", "turns": [{"messages": [{"role": "user", "content": WORDS}]}] * 20}],
    "forks": [
        {
            "session_id": "a",
            "turns": [{"messages": [{"role": "user", "content": WORDS}], "forks": ["b"] * 90}],
        },
        {"session_id": "b", "turns": [{"messages": [{"role": "user", "content": "x"}]}]},
    ],
    "spawns": [
        {
            "session_id": "a",
            "turns": [{"messages": [{"role": "user", "content": "x"}], "spawns": ["b"] * 90}],
        },
        {"session_id": "b", "turns": [{"messages": [{"role": "user", "content": WORDS}]}]},
    ],
}
MULTI_TURN: dict[str, list[dict[str, Any]]] = {
    "turns": [{"session_id": "a", "turns": [{"text": WORDS}] * 20}],
    "lines": [{"session_id": "a", "turns": [{"text": WORDS}]}] * 20,
    "replies": [{"session_id": "a", "turns": [{"text": "x", "output_length": 16_000}] * 3}],
}
CASES = [("dag_jsonl", name, DAG[name]) for name in DAG]
CASES += [("multi_turn", name, MULTI_TURN[name]) for name in MULTI_TURN]


def sessions(lines: list[dict[str, Any]], format: str, folder: Path) -> int:
    file = folder / "trace.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return len(list(read_sessions(file, format)))


@pytest.mark.parametrize(("format", "name", "lines"), CASES)
def test_contexts_that_are_sent_again_and_again_are_bounded_together(
    format: str, name: str, lines: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions(lines, format, tmp_path) == 1
    monkeypatch.setattr(text, "SESSION_BLOCKS_MAX", 1_000)
    with pytest.raises(TraceError, match=r"line \d+: turns\[\d+\]: the session's requests hold over"):
        sessions(lines, format, tmp_path)


def test_bodies_of_a_session_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [{"messages": [{"role": "user", "content": WORDS}]}] * 70
    file = tmp_path / "inputs.json"
    file.write_text(json.dumps({"data": [{"session_id": "a", "payloads": payloads}]}))
    assert len(list(read_sessions(file, "inputs_json"))) == 1
    monkeypatch.setattr(text, "SESSION_BLOCKS_MAX", 1_000)
    with pytest.raises(TraceError, match=r"data\[0\].payloads\[66\]: the session's requests hold over"):
        list(read_sessions(file, "inputs_json"))


def test_a_child_that_is_started_again_and_again_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    append = dag.append_messages
    monkeypatch.setattr(dag, "append_messages", lambda *asked: (read.append(1), append(*asked)))
    file = tmp_path / "trace.jsonl"
    talk = [{"messages": [{"role": "user", "content": WORDS}], "delay": 500, "max_tokens": 9}] * 2
    asks = {"messages": [{"role": "user", "content": "x"}], "delay": 1000}
    lines = [
        {"session_id": "a", "turns": [{**asks, "spawns": ["b"] * 3}, {**asks, "spawns": ["b"]}]},
        {"session_id": "b", "turns": talk},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (session,) = read_sessions(file, "dag_jsonl")
    assert len(read) == 4
    # The second turn waits a second for what the first one started, which took one.
    assert [(each.t_s, each.duration_s) for each in session.subagents()] == [(1.0, 1.0)] * 3 + [(3.0, 1.0)]
    assert len({tuple(map(tuple, (r.hash_ids for r in each.requests))) for each in session.subagents()}) == 1


@pytest.mark.parametrize("format", ["claude_code", "codex", "openrouter"])
def test_a_count_of_tokens_in_a_log_does_not_fill_the_memory(format: str, tmp_path: Path) -> None:
    usage = {"input_tokens": 2**40, "cached_input_tokens": 0, "output_tokens": 1}
    at = "2026-03-01T10:00:00.000Z"
    lines = {
        "claude_code": [
            {"type": "user", "uuid": "u", "parentUuid": None, "timestamp": at,
             "message": {"role": "user", "content": "w"}},
            {"type": "assistant", "uuid": "a", "parentUuid": "u", "timestamp": at, "requestId": "r",
             "message": {"id": "m", "model": "m", "role": "assistant", "content": [], "usage": usage}},
        ],
        "codex": [
            {"type": "session_meta", "timestamp": at, "payload": {"id": "s"}},
            {"type": "event_msg", "timestamp": at, "payload": {
                "type": "token_count", "info": {"last_token_usage": usage, "total_token_usage": usage}}},
        ],
        "openrouter": [
            {"id": "a", "created_at": at, "model": "m", "session_id": "s", "tokens_prompt": 2**40,
             "native_tokens_prompt": 2**40, "tokens_completion": 1, "native_tokens_completion": 1},
        ],
    }  # fmt: skip
    with pytest.raises(TraceError, match="the session's requests hold over 67,108,864 blocks together"):
        sessions(lines[format], format, tmp_path)
