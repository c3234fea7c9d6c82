"""Sub-agents as sessions of their own, for formats that know none."""

from __future__ import annotations

from collections.abc import Iterator

from swarm.workload.formats.output import Losses, Names
from swarm.workload.recorded import RecordedRequest, RecordedSession


def agents(
    session: RecordedSession, names: Names, losses: Losses
) -> Iterator[tuple[str, float, list[RecordedRequest]]]:
    """Yield name, start and requests, by time, of the orchestrator and of each sub-agent, idle ones too."""
    main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    subagents = list(session.subagents())
    idle = sum(not entry.requests for entry in subagents)
    losses.note("sub-agent made a session of its own, without its parent", len(subagents) - idle)
    losses.note("sub-agent without requests: left out", idle)
    losses.note("session without requests: left out", not any(session.requests()))
    name = names.name(session.id)
    losses.note("name of a session: numbered to be nobody else's", name != session.id)
    yield name, 0.0, _by_time(main)
    for number, entry in enumerate(subagents, 1):
        requests = _by_time(entry.requests)
        losses.note("start of a sub-agent before its first request", bool(requests) and requests[0].t_s > 0)
        yield names.name(f"{name}/{number}"), entry.t_s, requests


def _by_time(requests: list[RecordedRequest] | tuple[RecordedRequest, ...]) -> list[RecordedRequest]:
    return sorted(requests, key=lambda request: request.t_s)
