"""A host's book: what was sent and what came of it, in batches for the coordinator and its own journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from swarm.context.tree import Node
from swarm.live.clock import RunClock
from swarm.live.lag import LoopLag, cpu_wait_s
from swarm.measure.batch import AgentStep, Batch, Gauges, Place
from swarm.measure.ideal import Ideal
from swarm.measure.record import RequestRow
from swarm.measure.rows import Journal, RowTable, to_message
from swarm.measure.sketch import Sketch
from swarm.measure.window import Windows
from swarm.workload.effects import Agent, Infer


class HostLedger:
    """Notes every request and agent of one host."""

    def __init__(
        self,
        *,
        clock: RunClock,
        host: int,
        epoch: int,
        block_tokens: int,
        windows: Windows,
        journal: str | None,
        lag: LoopLag,
    ) -> None:
        self._clock = clock
        self._windows = windows
        self._host = host
        self._epoch = epoch
        self._sequence = 0
        self._ideal = Ideal(block_tokens=block_tokens)
        self._rows = RowTable()
        self._journal = None
        if journal is not None:
            self._journal = Journal(Path(journal) / f"host-{host:05d}-{epoch}.journal")
        self._lag = lag
        self._itl = Sketch()
        self._places_known: set[str] = set()
        self._places: list[Place] = []
        self._steps: list[AgentStep] = []
        self._sessions_started = 0
        self._sessions_finished = 0
        self._sent_count = 0
        self._open_count = 0

    def agent_started(self, agent: Agent, at_s: float) -> None:
        """Note an agent's start."""
        is_orchestrator = agent.parent is None
        self._sessions_started += is_orchestrator
        self._steps.append(AgentStep(at_s, 1, is_orchestrator))
        self._windows.agent_started(at_s, host=self._host, is_subagent=not is_orchestrator)

    def agent_ended(self, agent: Agent, at_s: float) -> None:
        """Note an agent's end, whether its program returned or the run stopped it."""
        is_orchestrator = agent.parent is None
        self._steps.append(AgentStep(at_s, -1, is_orchestrator))
        self._windows.agent_ended(at_s, host=self._host, is_subagent=not is_orchestrator)

    def session_finished(self) -> None:
        """Note that a session came to its own end."""
        self._sessions_finished += 1

    def sent(self, agent: Agent, effect: Infer, at_s: float) -> int:
        """Note a request; return its ideal hit as far as this host's own sends tell."""
        self._sent_count += 1
        self._open_count += 1
        self._note_place(effect.prompt.node)
        return self._ideal.send(effect.prompt)

    def ended(self, effect: Infer, row: RequestRow, token_times: Sequence[float]) -> None:
        """Note how a request ended."""
        self._open_count -= 1
        self._rows.append(row)
        if row.outcome != "ok":
            return
        if effect.echo:
            self._ideal.output(effect.prompt, row.output_tokens)
        if row.measured and len(token_times) > 1:
            self._itl.add_many([later - earlier for earlier, later in pairwise(token_times)])

    def take(self) -> Batch:
        """Return everything since the last call as the next batch, written to the journal first."""
        itl, self._itl = self._itl, Sketch()
        lag = Sketch()
        lag.add_many(self._lag.take())
        rows = self._rows.take()
        self._windows.add(rows)
        places, self._places = self._places, []
        steps, self._steps = self._steps, []
        batch = Batch(
            host=self._host,
            epoch=self._epoch,
            sequence=self._sequence,
            rows=to_message(rows),
            windows=self._windows.take().to_bytes(),
            places=tuple(places),
            agents=tuple(steps),
            itl=itl.to_bytes(),
            loop_lag=lag.to_bytes(),
            gauges=Gauges(
                at_s=self._clock.now_s(),
                sessions_started=self._sessions_started,
                sessions_finished=self._sessions_finished,
                open_requests=self._open_count,
                sent=self._sent_count,
                cpu_s=time.process_time(),
                cpu_wait_s=cpu_wait_s(),
            ),
        )
        self._sequence += 1
        if self._journal is not None:
            self._journal.append(batch.frame())
        return batch

    def _note_place(self, node: Node) -> None:
        """Note a node and those above it, once each, parents first."""
        unknown = []
        at: Node | None = node
        while at is not None and at.name not in self._places_known:
            unknown.append(at)
            at = at.parent
        for each in reversed(unknown):
            self._places_known.add(each.name)
            parent = None if each.parent is None else each.parent.name
            self._places.append(Place(each.name, parent, each.start))
