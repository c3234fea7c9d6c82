"""What of a recorded session a format does not hold, field by field, as far as the session has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.workload.formats.output import Losses
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent


@dataclass(frozen=True, slots=True)
class Field:
    """What a field is called, and the values that say nothing, as a reader puts them where it is absent."""

    name: str
    nothing: tuple[object, ...]


Named = Mapping[str, Field]

SESSION: Named = {
    "tool_tokens": Field("tokens of a session's tools", (0,)),
    "system_tokens": Field("tokens of a session's system prompt", (0,)),
    "models": Field("list of a session's models", ((),)),
    "project": Field("project of a session", ("",)),
    "has_words": Field("words of a session: their lengths and equal blocks are kept", (False,)),
}
SUBAGENT: Named = {
    "agent_id": Field("name of a sub-agent", ("",)),
    "kind": Field("kind of a sub-agent", ("",)),
    "duration_s": Field("time that a sub-agent took", (None,)),
    "tool_tokens": Field("tokens of a sub-agent's tools", (0,)),
    "system_tokens": Field("tokens of a sub-agent's system prompt", (0,)),
    "status": Field("way in which a sub-agent ended", ("completed",)),
    "total_tokens": Field("total tokens of a sub-agent", (None,)),
    "tool_uses": Field("tool uses of a sub-agent", (None,)),
}
REQUEST: Named = {
    "model": Field("name of the model", ("",)),
    "streaming": Field("reply that was not streamed", (True,)),
    "input_types": Field("kinds of input", ((),)),
    "output_types": Field("kinds of output", ((),)),
    "stop": Field("reason to stop", (None, "")),
    "api_s": Field("time that the request took", (None,)),
    "ttft_s": Field("time to the first token", (None,)),
    "read_tokens": Field("count of input that was read from a cache", (None,)),
    "written_tokens": Field("count of input that was written to a cache", (None,)),
    "written_ttl_s": Field("TTL of what was written to a cache", (None,)),
}

ALL = frozenset(
    f"{owner}.{field}"
    for owner, fields in (("session", SESSION), ("subagent", SUBAGENT), ("request", REQUEST))
    for field in fields
)
"""What a format that holds everything holds. Times and blocks are each writer's own to tell of."""


class Telling:
    """Notes the fields of sessions that a format does not hold."""

    def __init__(self, holds: frozenset[str], losses: Losses) -> None:
        self._losses = losses
        self._session = _not_held("session", SESSION, holds)
        self._subagent = _not_held("subagent", SUBAGENT, holds)
        self._request = _not_held("request", REQUEST, holds)

    def take(self, session: RecordedSession) -> RecordedSession:
        """Note what is lost of a session, and return it."""
        self._note(session, self._session)
        for entry in session.subagents():
            self._note(entry, self._subagent)
        for request in session.requests():
            self._note(request, self._request)
        return session

    def _note(self, owner: RecordedSession | RecordedSubagent | RecordedRequest, fields: Named) -> None:
        for name, field in fields.items():
            if getattr(owner, name) not in field.nothing:
                self._losses.note(field.name)


def _not_held(owner: str, fields: Named, holds: frozenset[str]) -> Named:
    return {name: field for name, field in fields.items() if f"{owner}.{name}" not in holds}
