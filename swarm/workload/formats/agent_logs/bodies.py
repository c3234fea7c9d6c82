"""Requests and responses as they went over the wire, a pair a line: of OpenAI's APIs and of Anthropic's.

Their words are there: equal beginnings of prompts are equal blocks, whatever was cached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.streams import digest64
from swarm.workload.formats.agent_logs.content import content_of
from swarm.workload.formats.agent_logs.documents import (
    as_json,
    first_of,
    inside,
    text,
    time_s,
    tokens,
    took_s,
)
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, guarded, request_of
from swarm.workload.formats.files import OnBroken

REQUEST = ("request", "request_body", "requestBody", "req", "body", "kwargs")
RESPONSE = ("response", "response_body", "responseBody", "res", "completion")
START = ("start_time", "startTime", "started_at", "request_time", "timestamp", "created_at", "time", "ts")
END = ("end_time", "endTime", "completed_at", "ended_at", "response_time")
TOOK_MS = ("duration_ms", "latency_ms", "elapsed_ms", "total_time_ms")
TTFT_MS = ("ttft_ms", "time_to_first_token_ms")
SESSION = ("session_id", "sessionId", "conversation_id", "thread_id", "trace_id", "prompt_cache_key")
SESSION_HEADERS = ("x-claude-code-session-id", "x-session-id", "session_id", "session-id")
SYSTEM_HEAD = 256
"""Characters by which system prompts, and so agents, are told apart: what is volatile stands behind them."""
HOUR_S, FIVE_MINUTES_S = 3600.0, 300.0


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests with a response that counts their tokens, or with words."""
    yield from guarded(values, on_broken, lambda file, row: _rows(row, tally))


def request_body(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the body of a request, wherever a row has it; None where it has none."""
    for found in (*(as_json(row.get(name)) for name in REQUEST), row):
        for body in (as_json(first_of(found, "body", "json", "json_data")), found):
            if type(body) is dict and type(first_of(body, "messages", "input")) in (list, str):
                return body
    return None


def _rows(row: dict[str, Any], tally: Tally) -> Iterator[Row]:
    body = request_body(row)
    if body is None:
        tally.missing["lines without a request's body"] += 1
        return
    response = _response(row)
    if not response or response.get("error"):
        tally.missing["requests without a response that was read"] += 1
        return
    usage = response.get("usage") if type(response.get("usage")) is dict else {}
    assert type(usage) is dict
    is_anthropic = (
        "input_tokens" in usage and "input_tokens_details" not in usage and "total_tokens" not in usage
    )
    details = first_of(usage, "prompt_tokens_details", "input_tokens_details")
    start_s = time_s(first_of(row, *START), "start")
    end_s = time_s(first_of(row, *END), "end")
    lasted_s, waited_s = took_s(first_of(row, *TOOK_MS)), took_s(first_of(row, *TTFT_MS))
    if end_s is None and start_s is not None and lasted_s is not None:
        end_s = start_s + lasted_s
    messages = messages_of(body)
    system = [first_of(body, "tools"), first_of(body, "system", "instructions")]
    head, first = _heads(system[1], messages)
    session = _session(row, body) or f"{digest64(head + first):016x}"
    yield Row(
        session=session,
        agent=f"{digest64(head):016x}",
        kind="",
        request=request_of(
            start_s=start_s,
            end_s=end_s,
            first_s=None if start_s is None or waited_s is None else start_s + waited_s,
            model=text(body, "model") or text(response, "model"),
            inputs=tokens(first_of(usage, "prompt_tokens", "input_tokens"), "prompt_tokens"),
            read=tokens(_either(usage, "cache_read_input_tokens", details, "cached_tokens"), "cached_tokens"),
            written=tokens(written_of(usage), "cache_creation"),
            outputs=tokens(first_of(usage, "completion_tokens", "output_tokens"), "completion_tokens"),
            stop=_stop(response),
            opened_by=opened_by(messages),
            is_exclusive=is_anthropic,
            ttl_s=_ttl_s(usage) if is_anthropic else None,
            tally=tally,
        ),
        content=content_of([each for each in system if each is not None] + messages),
        id=text(response, "id"),
    )  # fmt: skip


def _response(row: dict[str, Any]) -> dict[str, Any]:
    for name in RESPONSE:
        found = as_json(row.get(name))
        for body in (as_json(first_of(found, "body", "json", "body_raw")), found):
            if type(body) is str and "data:" in body:
                return _of_stream(body)
            if type(body) is dict and first_of(body, "usage", "choices", "content", "output", "error"):
                return body
    return row if type(row.get("usage")) is dict else {}


def _of_stream(body: str) -> dict[str, Any]:
    """Return what a stream of events says in the end: of each field the last."""
    said: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    for line in body.splitlines():
        if not line.startswith("data:"):
            continue
        try:
            event = json.loads(line[5:])
        except (ValueError, RecursionError):
            continue
        for part in (event, inside(event, "message"), inside(event, "response"), inside(event, "delta")):
            if type(part) is dict:
                usage |= part["usage"] if type(part.get("usage")) is dict else {}
                said |= {
                    name: part[name] for name in ("id", "model", "stop_reason", "choices") if part.get(name)
                }
    return said | {"usage": usage}


def messages_of(body: dict[str, Any]) -> list[Any]:
    """Return the messages of a request's body; a text alone is one."""
    found = first_of(body, "messages", "input")
    return found if type(found) is list else [found]


def _heads(system: Any, messages: list[Any]) -> tuple[str, str]:
    """Return the beginnings of the system prompt, and the whole first message after it."""
    rest = [each for each in messages if text(each, "role") not in ("system", "developer")]
    told = system if system is not None else [each for each in messages if each not in rest]
    return str(told)[:SYSTEM_HEAD], str(_stated(rest[0]))[:4096] if rest else ""


def _stated(message: Any) -> Any:
    return message.get("content") if type(message) is dict else message


def _session(row: dict[str, Any], body: dict[str, Any]) -> str:
    for owner in (row, body, inside(row, "metadata"), inside(body, "metadata")):
        found = text(owner, *SESSION)
        if found:
            return found
    headers = first_of(row, "headers", "request_headers") or inside(row, "request", "headers")
    if type(headers) is dict:
        lower = {str(name).lower(): value for name, value in headers.items()}
        found = text(lower, *SESSION_HEADERS)
        if found:
            return found
    user = text(inside(body, "metadata"), "user_id")
    return user.partition("session_")[2] if "session_" in user else ""


def written_of(usage: dict[str, Any]) -> Any:
    """Return what a usage says was written into a cache; None where it says nothing."""
    details = first_of(usage, "prompt_tokens_details", "input_tokens_details")
    return _either(usage, "cache_creation_input_tokens", details, "cache_write_tokens")


def _either(usage: dict[str, Any], name: str, details: Any, inner: str) -> Any:
    return usage[name] if usage.get(name) is not None else first_of(details, inner)


def _ttl_s(usage: dict[str, Any]) -> float:
    hour = first_of(usage.get("cache_creation"), "ephemeral_1h_input_tokens")
    return HOUR_S if type(hour) is int and hour > 0 else FIVE_MINUTES_S


def _stop(response: dict[str, Any]) -> str | None:
    choices = response.get("choices")
    if type(choices) is list and choices:
        return text(choices[0], "finish_reason") or None
    outputs = response.get("output")
    if type(outputs) is list and any("call" in text(each, "type") for each in outputs):
        return "tool_calls"
    return text(response, "stop_reason", "status") or None


def opened_by(messages: list[Any]) -> OpenedBy:
    """Return what the last message is: a tool's result or a person's words."""
    last = messages[-1] if messages else None
    if text(last, "role") == "tool" or text(last, "type").endswith("_output"):
        return "tool"
    content = last.get("content") if type(last) is dict else None
    if type(content) is list and any(text(block, "type") == "tool_result" for block in content):
        return "tool"
    return "human" if text(last, "role") == "user" or type(last) is str else "notice"
