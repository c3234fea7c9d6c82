"""Qwen Code: lines of a session; counts stand in telemetry lines with a duration, or else beside the reply.

A session that has telemetry with counts is read from that alone: its replies count the same requests again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.documents import inside, text, time_s, tokens, took_s
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name

TOLD = (
    "input_token_count",
    "output_token_count",
    "cached_content_token_count",
    "thoughts_token_count",
    "total_token_count",
)
BESIDE = (
    "promptTokenCount",
    "candidatesTokenCount",
    "cachedContentTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
)
_OPENED: dict[str, OpenedBy] = {"user": "human", "tool_result": "tool"}


@dataclass(slots=True)
class _Session:
    """What a session has so far."""

    told: list[Row] = field(default_factory=list)
    beside: list[Row] = field(default_factory=list)
    opened_by: OpenedBy = "human"
    waiting_s: float | None = None


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests that count tokens."""
    sessions: dict[str, _Session] = {}
    for file, place, value in values:
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            name = text(value, "sessionId") or file.name
            _take(name, sessions.setdefault(name, _Session()), value, tally)
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), place, str(fault)))
    for session in sessions.values():
        yield from session.told or session.beside


def _take(name: str, session: _Session, value: dict[str, Any], tally: Tally) -> None:
    kind = text(value, "type")
    event = inside(value, "systemPayload", "uiEvent")
    if kind == "assistant":
        at_s = time_s(value.get("timestamp"), "timestamp")
        usage = value.get("usageMetadata")
        if type(usage) is dict and any(usage.get(count) for count in BESIDE):
            start_s = session.waiting_s if session.waiting_s is not None else at_s
            session.beside.append(_row(name, session, value, usage, BESIDE, start_s, at_s, tally))
        else:
            tally.missing["replies without counts"] += 1
    elif kind in _OPENED:
        session.opened_by, session.waiting_s = _OPENED[kind], time_s(value.get("timestamp"), "timestamp")
    elif type(event) is dict and any(event.get(count) for count in TOLD):
        ended_s = time_s(event.get("event.timestamp") or value.get("timestamp"), "event.timestamp")
        lasted_s = took_s(event.get("duration_ms"))
        start_s = ended_s if ended_s is None or lasted_s is None else max(0.0, ended_s - lasted_s)
        session.told.append(_row(name, session, value, event, TOLD, start_s, ended_s, tally))
        session.opened_by = "notice"


def _row(
    name: str,
    session: _Session,
    value: dict[str, Any],
    counts: dict[str, Any],
    names: tuple[str, ...],
    start_s: float | None,
    end_s: float | None,
    tally: Tally,
) -> Row:
    inputs, output, cached, thoughts, total = (tokens(counts.get(each), each) for each in names)
    # Some servers count what was thought in the output, others beside it: the total says which.
    is_beside = total is not None and total == (inputs or 0) + (output or 0) + (thoughts or 0)
    waited_s = took_s(counts.get("ttft_ms"))
    return Row(
        session=name,
        agent="",
        kind="",
        request=request_of(
            start_s=start_s if start_s is None or end_s is None else min(start_s, end_s),
            end_s=end_s,
            first_s=None if start_s is None or waited_s is None else start_s + waited_s,
            model=text(counts, "model") or text(value, "model"),
            inputs=inputs,
            read=cached,
            written=None,
            outputs=(output or 0) + (thoughts or 0 if is_beside else 0),
            opened_by=session.opened_by,
            tally=tally,
        ),
        project=text(value, "cwd"),
        id=text(counts, "response_id") or text(value, "uuid"),
    )
