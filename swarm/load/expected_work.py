"""The work that a session asks of its client: a few sessions played ahead against a scripted world."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from swarm.errors import ProgramError
from swarm.workload.effects import Infer
from swarm.workload.scripted import EnoughError, ScriptedWorld
from swarm.workload.source import Source

SESSIONS_PLAYED = 12
REQUESTS_MAX = 40
"""Of one session; what comes later is taken to be alike."""


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """What one session alive asks for on average, its sub-agents' share included."""

    requests_per_s: float
    prompt_tokens: float
    """Of one request."""
    output_tokens: float
    agents: float
    """Alive at once, the orchestrator among them."""


NO_WORK = ExpectedWork(0.0, 0.0, 0.0, 1.0)


def expected_work(source: Source, slots: int) -> ExpectedWork:
    """Return the mean work of a session; that of nothing where no session comes to a request."""
    played = _Played()
    count = min(slots, SESSIONS_PLAYED, slots if source.count is None else source.count)
    for index in range(count):
        session = _Session(played)
        # A program that breaks a rule later than its rehearsal went is told of by the host that runs it.
        with suppress(EnoughError, ProgramError):
            session.play(source.session(index), 0.0)
        played.session_s += session.reached_s
        played.agents_s += session.agents_s
    if not played.requests or played.session_s <= 0.0:
        return NO_WORK
    return ExpectedWork(
        requests_per_s=played.requests / played.session_s,
        prompt_tokens=played.prompt_tokens / played.requests,
        output_tokens=played.output_tokens / played.requests,
        agents=max(1.0, played.agents_s / played.session_s),
    )


@dataclass(slots=True)
class _Played:
    """What all sessions played so far have asked for."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    session_s: float = 0.0
    agents_s: float = 0.0


class _Session(ScriptedWorld):
    """One session, and what it asks for."""

    def __init__(self, played: _Played) -> None:
        super().__init__(requests_max=REQUESTS_MAX)
        self._played = played
        self.reached_s = 0.0
        """Up to when the session was played."""
        self.agents_s = 0.0
        """Time that its agents were alive, summed over them."""

    def saw_answer(self, effect: Infer) -> None:
        """Count a request."""
        self._played.requests += 1
        self._played.prompt_tokens += effect.prompt.length
        self._played.output_tokens += effect.output_tokens

    def left(self, start_s: float, end_s: float) -> None:
        """Count an agent's time."""
        self.reached_s = max(self.reached_s, end_s)
        self.agents_s += end_s - start_s
