"""What journals tell of agents whose host was lost or stopped: enough to run their programs up to there.

Knows: batches. Does not know: programs, hosts, who runs what next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from swarm.records.batch import Batch
from swarm.records.rows import from_message

TOKENS = ("output_tokens", "planned_prompt_tokens", "planned_output_tokens")
Name = tuple[str, int]
"""A turn: its agent's path and its number."""


@dataclass(frozen=True, slots=True)
class KnownOutcome:
    """The outcome of a request as its program was told it."""

    ok: bool
    output_tokens: int
    completed_s: float
    prompt_tokens: int
    """As planned: with the next, what the program had asked."""
    planned_output_tokens: int


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a host knows of the sessions that it takes over from another one."""

    outcomes: dict[str, tuple[KnownOutcome, ...]]
    """By agent: of its turns from the first on."""
    open_turns: frozenset[Name]
    """Turns that were sent, and of which nothing more is known."""
    started: frozenset[str]
    """Agents that had ever started."""
    live: frozenset[str]
    """Agents that had started and not ended."""
    stopped: frozenset[str]
    """Agents that the run had stopped: all that they did is known."""
    finished: frozenset[str]
    """Agents whose program had returned."""
    sessions_ended: dict[str, float]
    """Sessions that had come to their own end, and when; nothing else is kept of them."""
    heard_until_s: float
    """When the lost host made its last batch: what happened later is not known."""
    skips: tuple[tuple[float, float], ...]
    """When time was skipped, in order, and how much: agents that ran then had so much less to wait."""
    is_lost: bool
    """Whether a host may have done more than it reported; not one that was stopped, and said so."""

    def outcome(self, agent: str, turn: int) -> KnownOutcome | None:
        """Return a turn's outcome as the agent was told it, or None if it is not known."""
        outcomes = self.outcomes.get(agent, ())
        return outcomes[turn] if turn < len(outcomes) else None

    def may_have_gone_on(self, agent: str) -> bool:
        """Return whether an agent may have done more than is known of it."""
        parent = agent.rpartition("/")[0]
        return self.is_lost and agent not in self.stopped and parent not in self.stopped


def takeover_of(
    batches: Sequence[Batch], owns: Callable[[str], bool], *, heard_until_s: float, is_lost: bool
) -> Takeover:
    """Return what is known of the sessions that `owns` names.

    `batches` are in order, from every host that ran one of them.
    """
    ended = {name: at_s for batch in batches for name, at_s in batch.sessions_ended if owns(name)}
    known: dict[str, dict[int, KnownOutcome]] = {}
    opened: set[Name] = set()
    started: set[str] = set()
    live: dict[str, None] = {}
    stopped: set[str] = set()
    finished: set[str] = set()

    def is_kept(session: str) -> bool:
        return session not in ended and owns(session)

    for batch in batches:
        final, provisional = split(batch)
        for session, agent, turn, outcome, completed_s, *tokens in _columns(final, "completed_s", *TOKENS):
            if not is_kept(session):
                continue
            opened.discard((agent, turn))
            if outcome != "interrupted":
                known.setdefault(agent, {})[turn] = KnownOutcome(
                    outcome == "ok", tokens[0], completed_s, tokens[1], tokens[2]
                )
        opened |= {
            (agent, turn) for session, agent, turn, *_ in _columns(provisional, "sent_s") if is_kept(session)
        }
        for step in batch.agents:
            if step.agent is None or not is_kept(session_of(step.agent)):
                continue
            if step.change > 0:
                live[step.agent] = None
                started.add(step.agent)
                stopped.discard(step.agent)
                continue
            live.pop(step.agent, None)
            (finished if step.finished else stopped).add(step.agent)
    return Takeover(
        outcomes={agent: _leading(outcomes) for agent, outcomes in known.items()},
        open_turns=frozenset(opened),
        started=frozenset(started),
        live=frozenset(live),
        stopped=frozenset(stopped),
        finished=frozenset(finished),
        sessions_ended=ended,
        heard_until_s=heard_until_s,
        skips=tuple(skip for batch in batches for skip in batch.skips),
        is_lost=is_lost,
    )


def heard_until(batches: Iterable[Batch], host: int | None) -> float:
    """Return when a host (None: any) made its last batch; 0 where it made none, or before the start."""
    return max([0.0, *(batch.gauges.at_s for batch in batches if host in (None, batch.host))])


def is_lost(batches: Iterable[Batch], host: int | None) -> bool:
    """Return whether a host (None: any) has not said that it ended, from batches in order."""
    ended = {batch.host: batch.is_last for batch in batches if host in (None, batch.host)}
    return not ended or not all(ended.values())


def session_of(agent: str) -> str:
    """Return the session of an agent's path."""
    return agent.partition("/")[0]


def split(batch: Batch) -> tuple[pa.Table, pa.Table]:
    """Return the rows of requests that ended, and those of requests that were open."""
    rows = from_message(batch.rows)
    final = rows.num_rows - batch.open_rows
    return rows.slice(0, final), rows.slice(final)


def _columns(table: pa.Table, at: str, *more: str) -> Iterable[tuple[Any, ...]]:
    names = ("session", "agent", "turn", "outcome", at, *more)
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)


def _leading(outcomes: dict[int, KnownOutcome]) -> tuple[KnownOutcome, ...]:
    """Return the outcomes from turn 0 on, up to the first that is missing."""
    leading: list[KnownOutcome] = []
    while len(leading) in outcomes:
        leading.append(outcomes[len(leading)])
    return tuple(leading)
