"""Which format a file is of, told from how its content begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs import agentic, bodies, captured, dynamo
from swarm.workload.formats.agent_logs.databases import is_database, is_opencode
from swarm.workload.formats.agent_logs.documents import values_of
from swarm.workload.formats.files import head_bytes, head_lines, is_packed_otherwise
from swarm.workload.formats.foreign import is_droid

_CLAUDE_TYPES = {"user", "assistant", "system", "progress", "attachment", "summary"}
_CODEX_TYPES = {"session_meta", "turn_context", "response_item", "event_msg", "compacted", "world_state"}
FIRST_VALUES = 40
_KEY = re.compile(rb'"(\w+)"\s*:')


def recognised(file: Path) -> str | None:
    """Return the name of the format, or None where the content is of none that is known."""
    if is_packed_otherwise(file):
        # Its reader says what it is packed with.
        return "weka"
    if is_database(file):
        return "opencode" if is_opencode(file) else None
    for value in head_lines(file):
        if is_droid(value):
            return None
        name = _of_line(value)
        if name is not None:
            return name
    name = _of_document(head_bytes(file))
    return name if name is not None else _of_values(file)


def _of_line(value: dict[str, Any]) -> str | None:
    kind = value.get("type")
    if kind in _CODEX_TYPES and "payload" in value:
        return "codex"
    message = value["message"] if type(value.get("message")) is dict else {}
    is_reply = type(message.get("usage")) is dict and "input_tokens" in message["usage"]
    if is_qwen(value):
        return "qwen"
    if kind in _CLAUDE_TYPES and ("uuid" in value or "sessionId" in value or is_reply):
        return "claude_code"
    if is_reply and "timestamp" in value:
        return "claude_code"
    name = _of_row(value)
    if name is not None:
        return name
    if "hash_ids" in value and ("input_length" in value or "timestamp" in value):
        return "mooncake"
    if "requests" in value and ("block_size" in value or "hash_id_scope" in value):
        return "weka"
    if "turns" in value:
        turns = value["turns"]
        is_dag = type(turns) is list and any(type(turn) is dict and "messages" in turn for turn in turns)
        return "dag_jsonl" if is_dag else "multi_turn"
    if "data" in value and type(value["data"]) is list and _has_payloads(value["data"]):
        return "inputs_json"
    return None


def is_qwen(value: dict[str, Any]) -> bool:
    """Return whether a line is of a log that is like Claude Code's, and of another tool."""
    message = value.get("message")
    return "systemPayload" in value or (type(message) is dict and "parts" in message and "sessionId" in value)


def _of_row(value: dict[str, Any]) -> str | None:
    """Return the format of logs with a request a row, or of a document on one line."""
    keys = value.keys()
    event = value["event"] if type(value.get("event")) is dict else value
    if event.get("schema") in dynamo.SCHEMAS:
        return "dynamo"
    if event.get("schema") == captured.SCHEMA:
        return "capture"
    if event.get("schema") == agentic.HEADER or {"request_id", "hash_ids"} <= keys:
        return "agentic_mooncake"
    if {"prefix_tokens", "newly_append_tokens"} <= keys:
        return "tracelab"
    if _is_event(value):
        return "copilot"
    if value.get("type") == "session" and {"version", "id", "cwd"} <= keys:
        return "pi"
    if value.get("type") == "message" and {"id", "parentId", "timestamp", "message"} <= keys:
        return "pi"
    if {"chat_id", "parent_chat_id", "hash_ids"} <= keys:
        return "bailian"
    if {"call_type", "startTime"} <= keys and {"request_id", "id"} & keys:
        return "litellm"
    if _is_langfuse(value):
        return "langfuse"
    if {"resourceSpans", "resource_spans"} & keys or ("spans" in keys and "trace_id" in keys):
        return "otel"
    if {"span_id", "spanId"} & keys and "attributes" in keys:
        return "otel"
    generation = value["data"] if type(value.get("data")) is dict else value
    if "native_tokens_prompt" in generation:
        return "openrouter"
    if "sessionID" in keys or (type(value.get("info")) is dict and "messages" in keys):
        return "opencode"
    if {"projectID", "time", "id"} <= keys:
        return "opencode"
    if {"sessionId", "projectHash"} <= keys:
        return "gemini"
    if {"type", "protocol_version"} <= keys or str(value.get("type", "")).startswith("context.append_"):
        return "kimi"
    is_pair = any(name in keys for name in bodies.RESPONSE) or type(value.get("usage")) is dict
    return "bodies" if is_pair and bodies.request_body(value) is not None else None


def _is_event(value: dict[str, Any]) -> bool:
    """Return whether a line is one of Copilot's: a type of two words, and what it is about in `data`."""
    kind = value.get("type")
    has_data = type(value.get("data")) is dict and "parentId" in value
    return has_data and type(kind) is str and kind.startswith(("session.", "assistant.", "user.message"))


def _is_langfuse(value: dict[str, Any]) -> bool:
    said = value.get("attributes")
    if type(said) is dict and any(name.startswith("langfuse.observation.") for name in said):
        return True
    if type(value.get("observations")) is list:
        return True
    return {"type", "startTime"} <= value.keys() and bool(
        {"usageDetails", "usage_details", "traceId"} & value.keys()
    )


def _has_payloads(data: list[Any]) -> bool:
    return any(type(entry) is dict and "payloads" in entry for entry in data)


def _of_values(file: Path) -> str | None:
    """Return the format of the first values of a file that is no lines: the whole of it is looked at."""
    faults: list[TraceError] = []
    values = values_of(file, faults.append)
    for _, (_, value) in zip(range(FIRST_VALUES), values, strict=False):
        name = _of_line(value) if type(value) is dict else None
        if name is not None:
            return name
    return None


def _of_document(head: bytes) -> str | None:
    """Return the format of one JSON value over many lines, by the keys that stand in its beginning."""
    keys = set(_KEY.findall(head))
    if b"hash_ids" in keys and {b"requests", b"block_size"} <= keys:
        return "weka"
    if b"payloads" in keys and b"data" in keys:
        return "inputs_json"
    return None
