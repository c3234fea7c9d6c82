"""Copilot CLI: lines of events; a request is an `assistant.usage`, or else an `assistant.message`.

Most versions write no counts of prompts but the session's sums at its end: prompts are then as long as their
words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.content import content_of
from swarm.workload.formats.agent_logs.documents import inside, text, time_s, tokens, took_s
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name

COUNTS = ("inputTokens", "cacheReadTokens", "cacheWriteTokens", "outputTokens")
PARTS_MAX = 100_000
"""Messages of one agent whose words are kept until its session's end."""
_OPENED: dict[str, OpenedBy] = {"user.message": "human", "tool.execution_complete": "tool"}


@dataclass(slots=True)
class _Agent:
    """An agent's words so far, and when its next request could be sent."""

    kind: str = ""
    parts: list[Any] = field(default_factory=list)
    waiting_s: float | None = None
    opened_by: OpenedBy = "human"


@dataclass(slots=True)
class _Session:
    """What a file has so far."""

    name: str
    project: str = ""
    model: str = ""
    agents: dict[str, _Agent] = field(default_factory=dict)
    counted: list[Row] = field(default_factory=list)
    said: list[Row] = field(default_factory=list)


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests of each session, counted ones where it has them."""
    sessions: dict[Path, _Session] = {}
    for file, place, value in values:
        session = sessions.setdefault(
            file, _Session(file.parent.name if file.stem == "events" else file.name)
        )
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            data = value["data"] if type(value.get("data")) is dict else {}
            _take(
                session, text(value, "type"), data, time_s(value.get("timestamp"), "timestamp"), value, tally
            )
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), place, str(fault)))
    for session in sessions.values():
        if session.said and not session.counted:
            tally.inferred["prompts, by the words that the log has of them"] += len(session.said)
        for row in session.counted or session.said:
            row.session, row.project = session.name, session.project
            yield row


def _take(
    session: _Session,
    kind: str,
    data: dict[str, Any],
    at_s: float | None,
    value: dict[str, Any],
    tally: Tally,
) -> None:
    own = text(data, "parentToolCallId")
    agent = session.agents.setdefault(own, _Agent())
    if kind == "session.start":
        session.name = text(data, "sessionId") or session.name
        session.project = text(inside(data, "context"), "gitRoot", "cwd")
        session.model = text(data, "selectedModel")
    elif kind == "session.model_change":
        session.model = text(data, "newModel") or session.model
    elif kind == "subagent.started":
        session.agents.setdefault(text(data, "toolCallId"), _Agent()).kind = text(data, "agentName")
    elif kind == "abort":
        tally.missing["requests that a person ended"] += 1
    elif kind in ("session.truncation", "session.compaction_complete"):
        tally.missing["summaries of full contexts, whose requests this log does not count"] += 1
        agent.parts.clear()
    elif kind in ("assistant.usage", "assistant.message"):
        _reply(session, agent, own, kind, data, at_s, value, tally)
    elif kind in ("system.message", *_OPENED) and len(agent.parts) < PARTS_MAX:
        result = data.get("result")
        agent.parts.append(
            first if (first := data.get("transformedContent")) else data.get("content", result)
        )
        if kind in _OPENED:
            agent.opened_by, agent.waiting_s = _OPENED[kind], at_s


def _reply(
    session: _Session,
    agent: _Agent,
    own: str,
    kind: str,
    data: dict[str, Any],
    at_s: float | None,
    value: dict[str, Any],
    tally: Tally,
) -> None:
    inputs, read, written, output = (tokens(data.get(name), name) for name in COUNTS)
    is_counted = kind == "assistant.usage"
    lasted_s = took_s(data.get("duration"))
    start_s = agent.waiting_s if agent.waiting_s is not None else at_s
    if is_counted and at_s is not None and lasted_s is not None:
        start_s = max(0.0, at_s - lasted_s)
    row = Row(
        session=session.name,
        agent=own,
        kind=agent.kind or "agent",
        request=request_of(
            start_s=start_s if start_s is None or at_s is None else min(start_s, at_s),
            end_s=at_s,
            model=text(data, "model") or session.model,
            inputs=inputs,
            read=read,
            written=written,
            outputs=output,
            opened_by=agent.opened_by,
            tally=tally,
        ),
        content=None if is_counted else content_of(agent.parts),
        id=text(data, "apiCallId", "messageId") or text(value, "id"),
    )
    (session.counted if is_counted else session.said).append(row)
    if not is_counted:
        agent.parts.append([data.get("content"), data.get("toolRequests")])
        agent.opened_by, agent.waiting_s = "notice", at_s
