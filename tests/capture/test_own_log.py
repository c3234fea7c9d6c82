"""A session's own log and its capture agree in tokens and hits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import pytest
from swarms import experiment, provider

from swarm.workload.formats import read_sessions

TURNS = 4
SYSTEM = " ".join(f"rule {n}" for n in range(800))


def asked(port: int, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    request = Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), method="POST")
    for name, value in {"Content-Type": "application/json", **headers}.items():
        request.add_header(name, value)
    with urlopen(request) as reply:
        found: dict[str, Any] = json.loads(reply.read())
    return found


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def claude_code(port: int) -> Iterator[dict[str, Any]]:
    """Yield the log of a client of Messages: a line a block of a reply, the results of its tools between."""
    cached = {"cache_control": {"type": "ephemeral"}}
    messages: list[dict[str, Any]] = []
    system = [{"type": "text", "text": SYSTEM, **cached}]
    parent = None
    for turn in range(TURNS):
        words = {"type": "text", "text": f"step {turn} " * 90}
        if turn:
            words = {"type": "tool_result", "tool_use_id": f"t{turn - 1}", "content": words["text"]}
        line = {"role": "user", "content": [words]}
        yield {"type": "user", "uuid": f"u{turn}", "parentUuid": parent, "timestamp": now(), "message": line}
        messages.append({"role": "user", "content": [{**words, **cached}]})
        body = {"model": "fleet", "max_tokens": 24, "system": system, "messages": messages}
        reply = asked(port, "/v1/messages", body, {"x-claude-code-session-id": "own"})
        del messages[-1]["content"][0]["cache_control"]
        call = {"type": "tool_use", "id": f"t{turn}", "name": "Read", "input": {}}
        for number, block in enumerate((*reply["content"], call)):
            early = {"output_tokens": 1} if number == 0 else {}
            kept = {**reply, "content": [block], "usage": {**reply["usage"], **early}}
            parent, before = f"a{turn}-{number}", parent if number else f"u{turn}"
            yield {
                "type": "assistant", "uuid": parent, "parentUuid": before, "timestamp": now(),
                "requestId": f"r{turn}", "sessionId": "own", "message": kept,
            }  # fmt: skip
        messages.append({"role": "assistant", "content": [*reply["content"], call]})


def codex(port: int) -> Iterator[dict[str, Any]]:
    """Yield the log of a client of Responses: its cumulative counts, each written twice."""
    yield {"type": "session_meta", "timestamp": now(), "payload": {"id": "own", "cwd": "/p"}}
    yield {"type": "turn_context", "timestamp": now(), "payload": {"model": "fleet"}}
    items: list[dict[str, Any]] = []
    sums = dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens", "total_tokens"), 0)
    for turn in range(TURNS):
        words = f"step {turn} " * 90
        if turn:
            items.append({"type": "function_call_output", "call_id": f"t{turn - 1}", "output": words})
            yield {"type": "response_item", "timestamp": now(), "payload": items[-1]}
        else:
            items.append({"type": "message", "role": "user", "content": words})
        body = {"model": "fleet", "max_output_tokens": 24, "instructions": SYSTEM, "input": items}
        reply = asked(port, "/v1/responses", body, {"session_id": "own"})
        usage = reply["usage"]
        last = {name: usage.get(name, 0) for name in sums}
        last["cached_input_tokens"] = usage["input_tokens_details"]["cached_tokens"]
        sums = {name: count + last[name] for name, count in sums.items()}
        counted = {"type": "token_count", "info": {"total_token_usage": sums, "last_token_usage": last}}
        call = {"type": "function_call", "call_id": f"t{turn}", "name": "shell", "arguments": "{}"}
        yield {"type": "response_item", "timestamp": now(), "payload": call}
        for _ in range(2):
            yield {"type": "event_msg", "timestamp": now(), "payload": counted}
        items = [*items, *reply["output"], call]


@pytest.mark.parametrize("client", [claude_code, codex])
def test_a_sessions_own_log_and_its_capture_agree(tmp_path: Path, wire: SimpleNamespace, client: Any) -> None:
    log = tmp_path / "log" / "own.jsonl"
    log.parent.mkdir()
    with provider(experiment()) as port, wire.captured(tmp_path / "out", f"http://127.0.0.1:{port}") as front:
        log.write_text("\n".join(json.dumps(line) for line in client(front)))
    told = [
        [
            (session.id, each.input_tokens, each.read_tokens, each.output_tokens, each.input_types)
            for session in read_sessions(path, "auto")
            for each in session.requests()
        ]
        for path in (log, tmp_path / "out")
    ]
    own, captured = told
    assert own == captured
    assert len(own) == TURNS
    assert all(read for _, _, read, _, _ in own[1:])
