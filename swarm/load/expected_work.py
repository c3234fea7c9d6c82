"""The work that a session asks of its client: a few sessions played ahead against a scripted world."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from swarm.errors import ProgramError
from swarm.workload.due import DueClock
from swarm.workload.effects import Agent, Ended, Infer, Inferred, Join, Spawn, Think
from swarm.workload.source import Source

SESSIONS_PLAYED = 12
REQUESTS_MAX = 40
"""Of one session; what comes later is taken to be alike."""
SECONDS_PER_TOKEN = 0.01
"""An answer's pace: quicker than servers are, so that the work is rather put too high."""


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
        with suppress(_EnoughError, ProgramError):
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


class _EnoughError(Exception):
    """The session has been seen for long enough."""


@dataclass(slots=True)
class _Played:
    """What all sessions played so far have asked for."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    session_s: float = 0.0
    agents_s: float = 0.0


class _Session:
    """One session whose requests are all answered in full, at a pace."""

    def __init__(self, played: _Played) -> None:
        self._played = played
        self._requests = 0
        self.reached_s = 0.0
        """Up to when the session was played."""
        self.agents_s = 0.0
        """Time that its agents were alive, summed over them."""

    def play(self, agent: Agent, start_s: float) -> Ended:
        """Play an agent, and each child as a whole where it is spawned."""
        program, due = agent.make(), DueClock(start_s)
        ended: dict[str, Ended] = {}
        result: Any = None
        try:
            while True:
                try:
                    effect = program.send(result)
                except StopIteration as end:
                    return Ended(agent.path, True, due.due_s, end.value)
                match effect:
                    case Think():
                        due.think(effect)
                        result = None
                    case Infer():
                        result = self._answer(effect, due)
                    case Spawn(child):
                        ended[child.path] = self.play(child, due.due_s)
                        result = child.path
                    case Join(paths):
                        result = tuple(ended[path] for path in paths)
                        for one in result:
                            due.join(one.completed_s)
        finally:
            self.reached_s = max(self.reached_s, due.due_s)
            self.agents_s += due.due_s - start_s

    def _answer(self, effect: Infer, due: DueClock) -> Inferred:
        if self._requests == REQUESTS_MAX:
            raise _EnoughError
        self._requests += 1
        self._played.requests += 1
        self._played.prompt_tokens += effect.prompt.length
        self._played.output_tokens += effect.output_tokens
        due.intend()
        due.complete(due.due_s + effect.output_tokens * SECONDS_PER_TOKEN)
        return Inferred(True, effect.output_tokens, due.completed_s, None)
