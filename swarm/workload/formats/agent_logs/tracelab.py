"""TraceLab's normalized rounds: a row a request of Claude Code or Codex, with times of what it was made of.

Its input is `prefix_tokens`, which were cached, and `newly_append_tokens`. Source: TraceLab's README,
"Data format".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.workload.formats.agent_logs.documents import text, time_s, tokens
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, guarded, request_of
from swarm.workload.formats.files import OnBroken

_BEFORE: dict[str, OpenedBy] = {"user_message": "human", "tool_result": "tool"}
_SAID = {"reasoning": "thinking", "text": "text", "tool_call": "tool_use"}


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the rounds."""
    yield from guarded(values, on_broken, lambda file, row: _rows(row, tally))


def _rows(row: dict[str, Any], tally: Tally) -> Iterator[Row]:
    total, read, new, outputs, written = (
        tokens(row.get(name), name)
        for name in (
            "input_tokens_total",
            "prefix_tokens",
            "newly_append_tokens",
            "output_tokens",
            "claude_cache_creation_input_tokens",
        )
    )
    if total is not None and read is not None and read > total:
        raise ValueError(f"prefix_tokens: {read} of {total} input tokens")
    if total is None and new is not None:
        total = new + (read or 0)
    opened_by: OpenedBy = "notice"
    start_s = first_s = end_s = None
    types: dict[str, None] = {}
    events = row.get("timing_events")
    for event in events if type(events) is list else ():
        kind, at_s = text(event, "event_type"), _time_of(event)
        if kind in _BEFORE and not types:
            opened_by = _BEFORE[kind]
            start_s = at_s if start_s is None or (at_s or 0.0) > start_s else start_s
        elif kind in _SAID:
            types[_SAID[kind]] = None
            first_s = at_s if first_s is None else first_s
        if kind not in _BEFORE and at_s is not None:
            end_s = max(at_s, end_s or 0.0)
    if start_s is None:
        tally.missing["starts of requests"] += 1
        start_s = first_s if first_s is not None else end_s
    key = text(row, "trace_key")
    yield Row(
        session=text(row, "session_id") or "unnamed",
        agent="",
        kind="",
        request=request_of(
            start_s=start_s,
            end_s=end_s,
            first_s=first_s,
            model=text(row, "model"),
            inputs=total,
            read=read,
            written=written,
            outputs=outputs,
            opened_by=opened_by,
            output_types=tuple(sorted(types)),
            tally=tally,
        ),
        project=text(row, "project"),
        id=key,
    )


def _time_of(event: Any) -> float | None:
    return time_s(event.get("timestamp"), "timestamp") if type(event) is dict else None
