"""What is written of each API's requests and replies, and what is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from swarm.workload.formats import read_sessions

SECRETS = ("sk-very-secret", "hunter2-cookie")
WORDS = "the words of a prompt that nobody else may read"
HEADERS = (
    f"Authorization: Bearer {SECRETS[0]}",
    f"x-api-key: {SECRETS[0]}",
    f"Cookie: {SECRETS[1]}",
    f"X-Custom-Token: {SECRETS[0]}",
)
CHAT = {
    "model": "m",
    "messages": [{"role": "user", "content": WORDS}],
}
USAGE = {"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
ANTHROPIC_USAGE = {
    "input_tokens": 4,
    "cache_read_input_tokens": 64,
    "cache_creation_input_tokens": 22,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 22},
    "output_tokens": 1,
}


def events(*said: Any) -> bytes:
    """Return a stream as servers of all APIs write it."""
    lines = [
        b"event: %b\ndata: %b\n\n" % (e["type"].encode(), orjson.dumps(e))
        if "type" in e
        else b"data: %b\n\n" % orjson.dumps(e)
        for e in said
    ]
    return b"".join(lines)


TOOL_ARGUMENTS = '{"prompt": "look into it"}'
CHAT_STREAM = (
    events(
        {"id": "r", "choices": [{"delta": {"content": "a"}}]},
        {
            "choices": [
                {
                    "delta": {
                        "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]
                    }
                }
            ]
        },
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": TOOL_ARGUMENTS}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": USAGE},
    )
    + b"data: [DONE]\n\n"
)
COMPLETIONS_STREAM = (
    events(
        {"id": "r", "choices": [{"text": "a", "finish_reason": None}]},
        {"choices": [{"text": "b", "finish_reason": "stop"}], "usage": USAGE},
    )
    + b"data: [DONE]\n\n"
)
MESSAGES_STREAM = events(
    {"type": "message_start", "message": {"id": "r", "content": [], "usage": ANTHROPIC_USAGE}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": TOOL_ARGUMENTS},
    },
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
)
RESPONSE = {
    "id": "r",
    "status": "completed",
    "output": [{"type": "function_call", "name": "f", "arguments": TOOL_ARGUMENTS}],
    "usage": {"input_tokens": 90, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 64}},
}
RESPONSES_STREAM = events(
    {"type": "response.created", "response": {"id": "r"}},
    {"type": "response.output_text.delta", "delta": "a"},
    {"type": "response.output_item.done", "item": RESPONSE["output"][0]},
    {"type": "response.completed", "response": RESPONSE},
)
CALL = {"id": "c", "function": {"name": "f", "arguments": TOOL_ARGUMENTS}}
CASES = {
    "chat": ("/v1/chat/completions", CHAT, CHAT_STREAM),
    "completions": ("/v1/completions", {"model": "m", "prompt": WORDS}, COMPLETIONS_STREAM),
    "messages": ("/v1/messages", CHAT | {"system": WORDS}, MESSAGES_STREAM),
    "responses": ("/v1/responses", {"model": "m", "instructions": WORDS, "input": WORDS}, RESPONSES_STREAM),
}
BODIES = {
    "chat": {
        "id": "r",
        "choices": [{"message": {"content": "a", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}],
        "usage": USAGE,
    },
    "completions": {"id": "r", "choices": [{"text": "ab", "finish_reason": "stop"}], "usage": USAGE},
    "messages": {
        "id": "r",
        "type": "message",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"prompt": "look into it"}},
        ],
        "stop_reason": "tool_use",
        "usage": ANTHROPIC_USAGE | {"output_tokens": 7},
    },
    "responses": RESPONSE,
}
CALLS = {"completions": []} | {
    api: [("f", {"prompt": "look into it"})] for api in ("chat", "messages", "responses")
}


def told(
    wire: SimpleNamespace, folder: Path, path: str, body: Any, reply: bytes, kind: str, **changes: Any
) -> list[dict[str, Any]]:
    """Return what is written of one exchange."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(wire.answer(reply, kind=kind))

    async def main() -> list[dict[str, Any]]:
        async with wire.upstream(script) as url, wire.capturing(folder, url, **changes) as front:
            await front.raw(wire.post(path, body, *HEADERS))
            entries: list[dict[str, Any]] = front.entries()
            return entries

    found: list[dict[str, Any]] = wire.run(main)
    return found


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("api", CASES)
def test_counts_of_each_api_are_the_server_s(
    tmp_path: Path, wire: SimpleNamespace, api: str, is_stream: bool
) -> None:
    path, body, stream = CASES[api]
    reply = stream if is_stream else orjson.dumps(BODIES[api])
    kind = "text/event-stream" if is_stream else "application/json"
    (entry,) = told(wire, tmp_path, path, body, reply, kind)
    counts = [entry[name] for name in ("input_tokens", "read_tokens", "output_tokens")]
    assert (entry["api"], entry["outcome"], counts) == (api, "ok", [90, 64, 7])
    assert (entry["written_tokens"], entry["written_1h_tokens"]) == (
        (22, 22) if api == "messages" else (None, None)
    )
    assert (entry["first_token_ms"] is not None) is is_stream
    assert ("tool_use" in entry["output_types"]) is (api != "completions")


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("api", CASES)
def test_the_calls_of_a_reply_are_read(api: str, is_stream: bool) -> None:
    from swarm.capture.exchange import Exchange
    from swarm.capture.replied import Replied

    exchange = Exchange(api, 0.0, 0.0, {}, b"")  # type: ignore[arg-type]
    kind = b"text/event-stream" if is_stream else b"application/json"
    exchange.reply_headers = {b"content-type": kind}
    exchange.replied = [(1.0, CASES[api][2] if is_stream else orjson.dumps(BODIES[api]))]
    replied = Replied(api)  # type: ignore[arg-type]
    replied.read(exchange)
    assert list(replied.calls()) == CALLS[api]


@pytest.mark.parametrize("api", CASES)
def test_neither_words_nor_keys_are_written(tmp_path: Path, wire: SimpleNamespace, api: str) -> None:
    path, body, stream = CASES[api]
    told(wire, tmp_path, f"{path}?key={SECRETS[0]}", body, stream, "text/event-stream")
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir()).decode()
    assert written
    assert not [each for each in (*SECRETS, "nobody else", "look into it") if each in written]


def test_words_are_written_where_they_are_asked_for_and_keys_never(
    tmp_path: Path, wire: SimpleNamespace
) -> None:
    path, body, stream = CASES["chat"]
    (entry,) = told(wire, tmp_path, path, body, stream, "text/event-stream", keeps_content=True)
    assert orjson.loads(entry["request"]) == body
    assert entry["response"] == stream.decode()
    assert SECRETS[0] not in str(entry)


def test_the_same_words_have_other_hashes_in_another_capture(tmp_path: Path, wire: SimpleNamespace) -> None:
    path, _, stream = CASES["chat"]
    body = {"model": "m", "messages": [{"role": "user", "content": WORDS * 10}]}
    one, same, other = (
        told(wire, tmp_path / name, path, body, stream, "text/event-stream", salt=salt)[0]["hashes"]
        for name, salt in (("1", b"a"), ("2", b"a"), ("3", b"b"))
    )
    assert one == same != other
    assert one


@pytest.mark.parametrize(
    ("message", "opened_by"),
    [
        ({"role": "user", "content": "do it"}, "human"),
        ({"role": "tool", "tool_call_id": "c", "content": "done"}, "tool"),
        ({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x"}]}, "tool"),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, "tool"),
        ({"role": "user", "content": "<task-notification>ended</task-notification>"}, "notice"),
        ({"role": "assistant", "content": "go on from"}, "notice"),
    ],
)
def test_what_came_before_a_request_is_its_last_message(message: dict[str, Any], opened_by: str) -> None:
    from swarm.capture.asked import asked_of

    first = {"role": "user", "content": "begin"}
    asked = asked_of("chat", orjson.dumps({"messages": [first, message]}), b"")
    assert asked is not None
    assert asked.opened_by == opened_by


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"messages":7}', b'{"messages":[7,null,{}]}'])
def test_a_request_that_is_none_passes_and_is_counted(
    tmp_path: Path, wire: SimpleNamespace, body: bytes
) -> None:
    (entry,) = told(wire, tmp_path, "/v1/chat/completions", body, b"{}", "application/json")
    assert entry["number"] == 1


def test_a_refusal_is_an_outcome(tmp_path: Path, wire: SimpleNamespace) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(wire.answer(b'{"error":{"message":"slow down"}}', status=429))

    async def main() -> list[dict[str, Any]]:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            await front.raw(wire.post("/v1/chat/completions", CHAT))
            entries: list[dict[str, Any]] = front.entries()
            return entries

    (entry,) = wire.run(main)
    assert (entry["outcome"], entry["status"]) == ("refused", 429)
    assert "slow" not in str(entry)


def test_a_capture_is_read_by_its_content(tmp_path: Path, wire: SimpleNamespace) -> None:
    path, body, stream = CASES["messages"]
    told(wire, tmp_path, path, body, stream, "text/event-stream")
    (session,) = read_sessions(tmp_path, "auto")
    (request,) = session.requests()
    assert (request.input_tokens, request.read_tokens, request.output_tokens) == (90, 64, 7)
    assert (request.written_tokens, request.written_ttl_s) == (22, 3600.0)
