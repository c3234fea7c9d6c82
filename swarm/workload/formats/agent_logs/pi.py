"""pi: lines of a session; its input is beside what was cached, a reply's own time is that of its request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.documents import text, time_s, tokens
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name

_ROLES: dict[str, OpenedBy] = {"user": "human", "toolResult": "tool"}
_BLOCKS = {"thinking": "thinking", "text": "text", "toolCall": "tool_use"}
COUNTS = ("input", "cacheRead", "cacheWrite", "output")


@dataclass(slots=True)
class _Session:
    """Where a file is."""

    name: str
    project: str = ""
    opened_by: OpenedBy = "human"
    lines: dict[str, float] = field(default_factory=dict)
    """When lines were written, by their ids."""


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the replies that count tokens; what a branched session copies is one request."""
    sessions: dict[Path, _Session] = {}
    for file, place, value in values:
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            if text(value, "type") == "session":
                sessions[file] = _Session(text(value, "id") or file.name, text(value, "cwd"))
                continue
            yield from _line(sessions.setdefault(file, _Session(file.name)), value, tally)
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), place, str(fault)))


def _line(session: _Session, value: dict[str, Any], tally: Tally) -> Iterator[Row]:
    at_s = time_s(value.get("timestamp"), "timestamp")
    if at_s is not None:
        session.lines[text(value, "id")] = at_s
    if text(value, "type") in ("compaction", "branch_summary"):
        tally.missing["summaries of full contexts, whose requests this log does not count"] += 1
    message = value.get("message")
    if type(message) is not dict or text(value, "type") != "message":
        return
    role = text(message, "role")
    session.opened_by, opened_by = _ROLES.get(role, session.opened_by), session.opened_by
    if role != "assistant":
        return
    usage = message.get("usage")
    counts = [tokens(usage.get(name), name) if type(usage) is dict else None for name in COUNTS]
    if not any(counts):
        tally.missing[f"replies that count nothing: {text(message, 'stopReason') or 'no reason given'}"] += 1
        return
    inputs, read, written, output = counts
    asked_s = time_s(message.get("timestamp"), "timestamp")
    before_s = session.lines.get(text(value, "parentId"))
    if asked_s is None or (at_s is not None and asked_s >= at_s):
        asked_s = before_s
    blocks = message["content"] if type(message.get("content")) is list else ()
    yield Row(
        session=session.name,
        agent="",
        kind="",
        request=request_of(
            start_s=asked_s if asked_s is not None and asked_s <= (at_s or asked_s) else at_s,
            end_s=at_s,
            model=text(message, "model"),
            inputs=inputs,
            read=read,
            written=written,
            outputs=output,
            stop=text(message, "stopReason") or None,
            opened_by=opened_by,
            is_exclusive=True,
            output_types=tuple(
                sorted({_BLOCKS[kind] for each in blocks if (kind := text(each, "type")) in _BLOCKS})
            ),
            tally=tally,
        ),
        project=session.project,
        id=f"{text(value, 'id')}\0{at_s}" if text(value, "id") else "",
    )
    session.opened_by = "notice"
