"""Gemini CLI: a session as one object, or its lines; only the end of a reply has a time.

Its input holds what was cached, its output not what was thought.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.documents import text, time_s, tokens
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name


class _State:
    """Where a session is: when the next request could be sent, and by what."""

    def __init__(self, session: str, project: str) -> None:
        self.session, self.project = session, project
        self.waiting_s: float | None = None
        self.opened_by: OpenedBy = "human"


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the replies that count tokens."""
    states: dict[Path, _State] = {}
    for file, place, value in values:
        if type(value) is not dict:
            on_broken(TraceError(shown_name(file), place, "must be an object"))
            continue
        if text(value, "sessionId") or file not in states:
            states[file] = _State(text(value, "sessionId") or file.name, text(value, "projectHash"))
        messages = value["messages"] if type(value.get("messages")) is list else [value]
        for number, message in enumerate(messages, 1):
            if type(message) is not dict:
                continue
            try:
                yield from _message(message, states[file], tally)
            except ValueError as fault:
                on_broken(TraceError(shown_name(file), f"{place}, message {number}", str(fault)))


def _message(message: dict[str, Any], state: _State, tally: Tally) -> Iterator[Row]:
    if text(message, "type") not in ("user", "gemini", "model"):
        return
    at_s = time_s(message.get("timestamp"), "timestamp")
    counts = message.get("tokens")
    if type(counts) is dict:
        inputs, output, cached, thoughts = (
            tokens(counts.get(name), name) for name in ("input", "output", "cached", "thoughts")
        )
        if state.waiting_s is None:
            tally.missing["starts of requests"] += 1
        tally.inferred["starts of requests, taken from what was written before them"] += 1
        start_s = at_s if state.waiting_s is None else state.waiting_s
        yield Row(
            session=state.session,
            agent="",
            kind="",
            request=request_of(
                start_s=min(start_s, at_s) if start_s is not None and at_s is not None else start_s,
                end_s=at_s,
                model=text(message, "model"),
                inputs=inputs,
                read=cached,
                written=None,
                outputs=(output or 0) + (thoughts or 0),
                opened_by=state.opened_by,
                tally=tally,
            ),
            project=state.project,
            id=f"{state.session}\0{text(message, 'id')}" if text(message, "id") else "",
        )
    elif text(message, "type") != "user":
        tally.missing["replies without counts"] += 1
    state.waiting_s, state.opened_by = at_s, "human"
    for call in message["toolCalls"] if type(message.get("toolCalls")) is list else ():
        done_s = time_s(call.get("timestamp"), "timestamp") if type(call) is dict else None
        state.opened_by = "tool"
        if done_s is not None:
            state.waiting_s = max(done_s, state.waiting_s or 0.0)
