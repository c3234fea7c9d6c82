"""Agent traces as one JSON object a session (the kv-cache-tester format), in all its dialects.

Dialects differ in what is optional (`hash_id_scope`, timing fields, sub-agents' durations) and in
conventions that need no switch: ids from 0 or 1, `in` with or without the partial last block.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.fields import Fields, shown
from swarm.workload.formats.files import OnBroken, is_lines, read_json, read_lines
from swarm.workload.formats.options import Options
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

SUFFIXES = (".json", ".jsonl")
DEFAULTS = Options(block_tokens=0, rows="", bytes_per_token=4.0)
"""A session states its own block size."""

_DEPTH_MAX = 64
_STREAMING = {"s": True, "n": False}


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield the sessions of a file: one, or one a line of a .jsonl file."""
    for source, value in _values(file, on_broken):
        try:
            session = _session(source, value)
        except TraceError as error:
            on_broken(error)
            continue
        yield session


def _values(file: Path, on_broken: OnBroken) -> Iterator[tuple[str, Any]]:
    if is_lines(file):
        for number, value in read_lines(file, on_broken):
            yield f"{file}:{number}", value
        return
    try:
        value = read_json(file)
    except TraceError as error:
        on_broken(error)
        return
    yield str(file), value


def _session(source: str, value: Any) -> RecordedSession:
    fields = Fields(source, "session", value)
    name = fields.text("id", "") or source
    block_tokens = fields.count("block_size")
    if block_tokens == 0:
        raise fields.broken("block_size", "must be positive, got 0")
    entries = list(_entries(source, "requests", fields.objects("requests"), block_tokens))
    return RecordedSession(
        id=name,
        source=source,
        namespace=_namespace(fields, block_tokens),
        block_tokens=block_tokens,
        tool_tokens=fields.count("tool_tokens", 0),
        system_tokens=fields.count("system_tokens", 0),
        models=fields.texts("models"),
        entries=tuple(entries),
    )


def _namespace(fields: Fields, block_tokens: int) -> str:
    scope = fields.text("hash_id_scope", "local")
    if scope == "global":
        return f"global/{block_tokens}"
    if scope == "local":
        return f"local/{fields.source}"
    raise fields.broken("hash_id_scope", f"must be 'local' or 'global', got {shown(scope)}")


def _entries(
    source: str, place: str, values: list[Any], block_tokens: int
) -> Iterator[RecordedRequest | RecordedSubagent]:
    for index, value in enumerate(values):
        if type(value) is dict and value.get("type") == "subagent":
            yield from _subagents(source, f"{place}[{index}]", value, block_tokens, 0.0, 1)
        else:
            yield _request(source, f"{place}[{index}]", value, block_tokens)


def _subagents(
    source: str, place: str, value: Any, block_tokens: int, start_s: float, depth: int
) -> Iterator[RecordedSubagent]:
    """Yield a sub-agent and those that it spawned itself, each with its time in the session."""
    if depth > _DEPTH_MAX:
        raise TraceError(source, place, f"sub-agents nest deeper than {_DEPTH_MAX}")
    fields = Fields(source, place, value)
    t_s = start_s + fields.seconds("t")
    requests: list[RecordedRequest] = []
    nested: list[RecordedSubagent] = []
    for index, entry in enumerate(fields.objects("requests")):
        inside = f"{place}.requests[{index}]"
        if type(entry) is dict and entry.get("type") == "subagent":
            nested += _subagents(source, inside, entry, block_tokens, t_s, depth + 1)
        else:
            requests.append(_request(source, inside, entry, block_tokens))
    duration_ms = fields.seconds_or_none("duration_ms")
    yield RecordedSubagent(
        t_s=t_s,
        agent_id=fields.text("agent_id", ""),
        kind=fields.text("subagent_type", ""),
        duration_s=None if duration_ms is None else duration_ms / 1000,
        tool_tokens=fields.count("tool_tokens", 0),
        system_tokens=fields.count("system_tokens", 0),
        requests=tuple(requests),
    )
    yield from nested


def _request(source: str, place: str, value: Any, block_tokens: int) -> RecordedRequest:
    fields = Fields(source, place, value)
    streaming = _STREAMING.get(value["type"]) if type(value.get("type")) is str else None
    if streaming is None:
        raise fields.broken("type", f"must be 's', 'n' or 'subagent', got {shown(value.get('type'))}")
    input_tokens = fields.count("in")
    ids = fields.ids("hash_ids")
    if (len(ids) - 1) * block_tokens >= input_tokens and len(ids):
        raise fields.broken(
            "hash_ids", f"{len(ids)} blocks of {block_tokens} tokens do not fit into in={input_tokens}"
        )
    return RecordedRequest(
        t_s=fields.seconds("t"),
        model=fields.text("model", ""),
        streaming=streaming,
        input_tokens=input_tokens,
        output_tokens=fields.count("out"),
        hash_ids=ids,
        input_types=fields.texts("input_types"),
        output_types=fields.texts("output_types"),
        stop=fields.text("stop", "") if value.get("stop") is not None else None,
        api_s=fields.seconds_or_none("api_time"),
        think_s=fields.seconds_or_none("think_time"),
        ttft_s=fields.seconds_or_none("ttft"),
    )
