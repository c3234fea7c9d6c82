"""What every agent of a live run does, as its hosts reported it: asks, compacts, waits for others, thinks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from swarm.records.batch import Batch
from swarm.records.takeover import split

DOING = ("asks the model", "compacts", "waits for sub-agents", "thinks")
ASKS, COMPACTS, JOINS, THINKS = DOING
SHOWN_MAX = 60
"""Agents in the list, those first that have been at it for the longest time."""
HISTORY_MAX = 240
_OPEN = ("agent", "turn", "kind", "sent_s", "prompt_tokens")
_ENDED = ("agent", "turn", "completed_s", "outcome", "prompt_tokens")


@dataclass(slots=True)
class Doer:
    """One agent that lives."""

    since_s: float
    turns: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    open_turn: int | None = None
    open_kind: str = ""
    children: int = 0


class Doings:
    """Follows the agents through the batches of a run, in the order in which they were taken."""

    def __init__(self) -> None:
        self.agents: dict[str, Doer] = {}
        self.history: list[dict[str, float]] = []
        """How many agents did what: `at_s` and one count for each of `DOING`."""
        self._every_s = 1.0

    def take(self, batch: Batch) -> None:
        """Take in one report."""
        final, provisional = split(batch)
        for step in batch.agents:
            if step.agent is not None and step.change > 0 and step.agent not in self.agents:
                self.agents[step.agent] = Doer(step.at_s)
                self._parent(step.agent, 1, step.at_s)
        for agent, turn, kind, sent_s, tokens in _columns(provisional, _OPEN):
            doer = self.agents.get(agent)
            if doer is not None:
                doer.open_turn, doer.open_kind, doer.since_s = turn, kind, sent_s or doer.since_s
                doer.prompt_tokens = tokens
        for agent, turn, completed_s, outcome, tokens in _columns(final, _ENDED):
            doer = self.agents.get(agent)
            if doer is None:
                continue
            doer.turns = max(doer.turns, turn + 1)
            doer.failed += outcome == "failed"
            doer.prompt_tokens = tokens
            if doer.open_turn is None or doer.open_turn <= turn:
                doer.open_turn, doer.since_s = None, completed_s
        for step in batch.agents:
            if step.agent is not None and step.change < 0 and self.agents.pop(step.agent, None) is not None:
                self._parent(step.agent, -1, step.at_s)
        self._note(batch.gauges.at_s)

    def counts(self) -> dict[str, int]:
        """Return how many agents do what."""
        found = dict.fromkeys(DOING, 0)
        for doer in self.agents.values():
            found[doing(doer)] += 1
        return found

    def listed(self, now_s: float) -> list[dict[str, Any]]:
        """Return the agents that have been at the same thing for the longest time, those that ask first."""
        order = {name: at for at, name in enumerate(DOING)}
        every = sorted(
            self.agents.items(), key=lambda each: (order[doing(each[1])], each[1].since_s, each[0])
        )
        return [
            {
                "agent": name,
                "does": doing(doer),
                "for_s": max(0.0, now_s - doer.since_s),
                "turns": doer.turns,
                "failed": doer.failed,
                "context": doer.prompt_tokens,
                "children": doer.children,
            }
            for name, doer in every[:SHOWN_MAX]
        ]

    def _parent(self, agent: str, change: int, at_s: float) -> None:
        parent = self.agents.get(agent.rpartition("/")[0])
        if parent is not None:
            parent.children = max(0, parent.children + change)
            parent.since_s = max(parent.since_s, at_s)

    def _note(self, now_s: float) -> None:
        if self.history and now_s < self.history[-1]["at_s"] + self._every_s:
            return
        self.history.append({"at_s": now_s, **self.counts()})
        if len(self.history) > HISTORY_MAX:
            self.history = self.history[::2]
            self._every_s *= 2


def doing(doer: Doer) -> str:
    """Return what an agent does, in the words of `DOING`."""
    if doer.open_turn is not None:
        return COMPACTS if doer.open_kind == "compact" else ASKS
    return JOINS if doer.children else THINKS


def _columns(table: pa.Table, names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)
