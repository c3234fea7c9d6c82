"""Agent traces as one JSON object a session (the kv-cache-tester format), in all its dialects.

Dialects differ in what is optional (`hash_id_scope`, timing fields, sub-agents' durations) and in
conventions that need no switch: ids from 0 or 1, `in` with or without the partial last block. A sub-agent's
requests count from its own start or, as in the AgentX corpora, from the session's: `_are_absolute` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from swarm.errors import TraceError, UsageError
from swarm.streams import digest64
from swarm.workload.formats.blocks import PARTIAL, whole_blocks
from swarm.workload.formats.fields import Fields, shown
from swarm.workload.formats.files import OnBroken, is_lines, read_json, read_lines, shown_name
from swarm.workload.formats.held import ALL
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import FileNames, Losses, milliseconds, written, written_folder
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

SUFFIXES = (".json", ".jsonl")
DEFAULTS = Options(block_tokens=0, rows="", bytes_per_token=4.0, settings=("subagent_times",))
"""A session states its own block size."""
WRITES = replace(DEFAULTS, settings=("block_tokens",))
HOLDS = ALL - {"session.has_words", "session.project"}

_DEPTH_MAX = 64
_STREAMING = {"s": True, "n": False}
_CLOCK_S = 1.0
"""Recorders round times to whole seconds: so much a sub-agent's request may lie before its start."""
_TIMES = "subagent_times"
"""A session's own word on its sub-agents' times, written where they could be taken for the other kind."""


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield the sessions of a file: one, or one a line of a .jsonl file."""
    for source, value in _values(file, on_broken):
        try:
            session = _session(source, value, options.subagent_times)
        except TraceError as error:
            on_broken(error)
            continue
        yield session


def _values(file: Path, on_broken: OnBroken) -> Iterator[tuple[str, Any]]:
    source = shown_name(file)
    if is_lines(file):
        for number, value in read_lines(file, on_broken):
            yield f"{source}:{number}", value
        return
    try:
        value = read_json(file)
    except TraceError as error:
        on_broken(error)
        return
    yield source, value


def _session(source: str, value: Any, subagent_times: str) -> RecordedSession:
    fields = Fields(source, "session", value)
    name = fields.text("id", "") or source
    if "block_size" not in fields.values and "requests" not in fields.values:
        raise fields.broken("", "is no agent trace: it has neither block_size nor requests; state the format")
    block_tokens = fields.count("block_size")
    if block_tokens == 0:
        raise fields.broken("block_size", "must be positive, got 0")
    values = fields.objects("requests")
    times = subagent_times or fields.text(_TIMES, "")
    if times not in ("", "relative", "absolute"):
        raise fields.broken(_TIMES, f"must be 'relative' or 'absolute', got {shown(times)}")
    is_absolute = times == "absolute" if times else _are_absolute(values)
    entries = list(_entries(source, "requests", values, block_tokens, is_absolute))
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


def _are_absolute(values: list[Any]) -> bool:
    """Say whether the times of sub-agents' requests count from the session's start.

    Times that count from a sub-agent's own start begin at 0: one that lies before the start is such a time.
    Where none of a session does, they are the session's.
    """
    is_told = False
    for value in values:
        start_s, times = _times(value)
        if start_s <= _CLOCK_S or not times:
            continue
        is_told = True
        if min(times) < start_s - _CLOCK_S:
            return False
    return is_told


def _times(value: Any) -> tuple[float, list[float]]:
    """Return the start of a sub-agent and the times of its requests, as far as they are times."""
    if type(value) is not dict or value.get("type") != "subagent" or type(value.get("requests")) is not list:
        return 0.0, []
    given = [value, *(each for each in value["requests"] if type(each) is dict)]
    times = [float(each["t"]) for each in given if type(each.get("t")) in (int, float)]
    return (times[0], times[1:]) if len(times) == len(given) else (0.0, [])


def _entries(
    source: str, place: str, values: list[Any], block_tokens: int, is_absolute: bool
) -> Iterator[RecordedRequest | RecordedSubagent]:
    for index, value in enumerate(values):
        if type(value) is dict and value.get("type") == "subagent":
            yield from _subagents(source, f"{place}[{index}]", value, block_tokens, 0.0, is_absolute, 1)
        else:
            yield _request(source, f"{place}[{index}]", value, block_tokens)


def _subagents(
    source: str, place: str, value: Any, block_tokens: int, start_s: float, is_absolute: bool, depth: int
) -> Iterator[RecordedSubagent]:
    """Yield a sub-agent and those that it spawned itself, each with its time in the session."""
    if depth > _DEPTH_MAX:
        raise TraceError(source, place, f"sub-agents nest deeper than {_DEPTH_MAX}")
    fields = Fields(source, place, value)
    t_s = fields.in_time("t", (0.0 if is_absolute else start_s) + fields.seconds("t"))
    requests: list[RecordedRequest] = []
    nested: list[RecordedSubagent] = []
    for index, entry in enumerate(fields.objects("requests")):
        inside = f"{place}.requests[{index}]"
        if type(entry) is dict and entry.get("type") == "subagent":
            nested += _subagents(source, inside, entry, block_tokens, t_s, is_absolute, depth + 1)
        else:
            request = _request(source, inside, entry, block_tokens)
            if is_absolute:
                request = replace(request, t_s=max(0.0, request.t_s - t_s))
            requests.append(request)
    fields.in_time("requests", t_s + max((request.t_s for request in requests), default=0.0))
    duration_ms = fields.milliseconds_or_none("duration_ms")
    yield RecordedSubagent(
        t_s=t_s,
        agent_id=fields.text("agent_id", ""),
        kind=fields.text("subagent_type", ""),
        duration_s=None if duration_ms is None else duration_ms / 1000,
        tool_tokens=fields.count("tool_tokens", 0),
        system_tokens=fields.count("system_tokens", 0),
        requests=tuple(requests),
        status=fields.text("status", "completed"),
        total_tokens=_count_or_none(fields, "total_tokens"),
        tool_uses=_count_or_none(fields, "tool_use_count"),
    )
    yield from nested


def _count_or_none(fields: Fields, name: str) -> int | None:
    return None if fields.values.get(name) is None else fields.count(name)


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
        read_tokens=_count_or_none(fields, "read_tokens"),
        written_tokens=_count_or_none(fields, "written_tokens"),
        written_ttl_s=fields.seconds_or_none("written_ttl"),
    )


def write(sessions: Iterable[RecordedSession], dest: Path, options: Options, losses: Losses) -> int:
    """Write one file a session into a folder, or one line a session into a .jsonl file; return how many."""
    count = 0
    spaces: dict[str, int] = {}
    if is_lines(dest):
        with written(dest) as file:
            for session in sessions:
                _check_blocks(session, options)
                file.write(_bytes_of(_apart(session, spaces), losses) + b"\n")
                count += 1
        return count
    if dest.name.lower().removesuffix(".gz").endswith(".json"):
        lines = dest.with_name(f"{dest.name.split('.')[0]}.jsonl")
        raise UsageError(f"{dest}: agent traces are a folder, or a file of lines such as {lines}")
    names = FileNames()
    with written_folder(dest) as folder:
        for session in sessions:
            _check_blocks(session, options)
            content = _bytes_of(_apart(session, spaces), losses)
            (folder / f"{names.name(session.id)}.json").write_bytes(content)
            count += 1
    return count


def _check_blocks(session: RecordedSession, options: Options) -> None:
    if options.block_tokens not in (0, session.block_tokens):
        raise UsageError(
            f"block_tokens={options.block_tokens}: agent traces keep the blocks of their source, which have "
            f"{session.block_tokens} tokens in {session.source}"
        )


def _apart(session: RecordedSession, spaces: dict[str, int]) -> RecordedSession:
    """Return the session with ids that are nobody else's, where they mean other blocks than those before.

    The format has one namespace for all sessions that share ids. The first keeps its ids, those of others
    are digests of namespace and id.
    """
    if not session.shares_ids or not spaces.setdefault(session.namespace, len(spaces)):
        return session
    space = session.namespace

    def renamed(request: RecordedRequest) -> RecordedRequest:
        ids = [digest64(f"{space}\x00{each}") >> 1 for each in request.hash_ids]
        return replace(request, hash_ids=ids)

    entries = tuple(
        renamed(entry)
        if isinstance(entry, RecordedRequest)
        else replace(entry, requests=tuple(map(renamed, entry.requests)))
        for entry in session.entries
    )
    return replace(session, entries=entries)


def _bytes_of(session: RecordedSession, losses: Losses) -> bytes:
    entries = [_entry_out(entry, session.block_tokens, losses) for entry in session.entries]
    return orjson.dumps(
        {
            "id": session.id,
            "models": list(session.models or dict.fromkeys(r.model for r in session.requests())),
            "block_size": session.block_tokens,
            "hash_id_scope": "global" if session.shares_ids else "local",
            "tool_tokens": session.tool_tokens,
            "system_tokens": session.system_tokens,
            **({_TIMES: "relative"} if _are_absolute(entries) else {}),
            "requests": entries,
        }
    )


def _entry_out(
    entry: RecordedRequest | RecordedSubagent, block_tokens: int, losses: Losses
) -> dict[str, Any]:
    if isinstance(entry, RecordedRequest):
        return _request_out(entry, block_tokens, losses)
    return {
        "t": entry.t_s,
        "type": "subagent",
        "agent_id": entry.agent_id,
        "subagent_type": entry.kind,
        "duration_ms": None if entry.duration_s is None else milliseconds(entry.duration_s),
        "total_tokens": entry.total_tokens,
        "tool_use_count": entry.tool_uses,
        "status": entry.status,
        "requests": [_request_out(request, block_tokens, losses) for request in entry.requests],
        "models": list(dict.fromkeys(request.model for request in entry.requests)),
        "tool_tokens": entry.tool_tokens,
        "system_tokens": entry.system_tokens,
    }


def _request_out(request: RecordedRequest, block_tokens: int, losses: Losses) -> dict[str, Any]:
    ids = whole_blocks(request, block_tokens)
    losses.note(PARTIAL, len(request.hash_ids) - len(ids))
    row = {
        "t": request.t_s,
        "type": "s" if request.streaming else "n",
        "model": request.model,
        "in": request.input_tokens,
        "out": request.output_tokens,
        "hash_ids": list(ids),
        "input_types": list(request.input_types),
        "output_types": list(request.output_types),
        "stop": request.stop or "",
    }
    told = {
        "api_time": request.api_s,
        "think_time": request.think_s,
        "ttft": request.ttft_s,
        "read_tokens": request.read_tokens,
        "written_tokens": request.written_tokens,
        "written_ttl": request.written_ttl_s,
    }
    return row | {name: value for name, value in told.items() if value is not None}
