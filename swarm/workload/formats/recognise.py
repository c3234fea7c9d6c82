"""Which format a file is of, told from how its content begins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from swarm.workload.formats.files import head_bytes, head_lines, is_packed_otherwise

_CLAUDE_TYPES = {"user", "assistant", "system", "progress", "attachment", "summary"}
_CODEX_TYPES = {"session_meta", "turn_context", "response_item", "event_msg", "compacted", "world_state"}
_KEY = re.compile(rb'"(\w+)"\s*:')


def recognised(file: Path) -> str | None:
    """Return the name of the format, or None where the content is of none that is known."""
    if is_packed_otherwise(file):
        # Its reader says what it is packed with.
        return "weka"
    for value in head_lines(file):
        name = _of_line(value)
        if name is not None:
            return name
    return _of_document(head_bytes(file))


def _of_line(value: dict[str, Any]) -> str | None:
    kind = value.get("type")
    if kind in _CODEX_TYPES and "payload" in value:
        return "codex"
    is_reply = type(value.get("message")) is dict and type(value["message"].get("usage")) is dict
    if kind in _CLAUDE_TYPES and ("uuid" in value or "sessionId" in value or is_reply):
        return "claude_code"
    if is_reply and "timestamp" in value:
        return "claude_code"
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


def _has_payloads(data: list[Any]) -> bool:
    return any(type(entry) is dict and "payloads" in entry for entry in data)


def _of_document(head: bytes) -> str | None:
    """Return the format of one JSON value over many lines, by the keys that stand in its beginning."""
    keys = set(_KEY.findall(head))
    if b"hash_ids" in keys and {b"requests", b"block_size"} <= keys:
        return "weka"
    if b"payloads" in keys and b"data" in keys:
        return "inputs_json"
    return None
