"""`swarm simulate`: sessions, kernel and fleet wired together, and what came of it."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any, Protocol

from swarm.config.experiment import Experiment
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Finished, Refused
from swarm.load.admission import Admission
from swarm.load.pacing import Pacing, pacing_of
from swarm.measure.agents import count_agents
from swarm.measure.results import Results, windows_of
from swarm.measure.totals import RunTotals
from swarm.records.batch import AgentStep
from swarm.records.row import RequestRow
from swarm.records.spool import RowSpool
from swarm.sim.kernel import Flight, Kernel
from swarm.sim.observer import interrupted_row, row_of
from swarm.sim.searching import Searching
from swarm.workload.effects import Agent
from swarm.workload.source import Material, Source, open_source

GC_THRESHOLDS = (1_000_000, 20, 20)
WATCH_REQUESTS = 256
REASONS_MAX = 8
"""Different reasons of refusals that are kept."""
WINDOWED_ROWS = 16_384
"""Rows that are added to the windows at once: their columns are in memory for that."""


class Watch(Protocol):
    """Who looks on while a simulation runs, and may end it."""

    def goes_on(self, now_s: float, ended_count: int, open_count: int) -> bool:
        """Return False to end the run here; called once in `WATCH_REQUESTS` requests."""


def simulate(experiment: Experiment, scripts: Material, watch: Watch | None = None) -> Results:
    """Run an experiment in virtual time; the same experiment and seed give the same result to the byte."""
    source = open_source(experiment.workload, experiment.seed, scripts)
    pacing = pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
    book = Book(experiment, source, pacing, watch)
    fleet = build_fleet(experiment.fleet)
    gate = experiment.load.admission
    kernel = Kernel(
        fleet,
        book,
        retry=experiment.target.retry,
        seed=experiment.seed,
        admission=None if gate is None else Admission(gate, hosts=1),
    )
    book.attach(kernel)
    load = experiment.load
    with _few_collections():
        if load.search is not None:
            capacity, ended_s = Searching(experiment, kernel, book, fleet, pacing.slots).run()
            book.capacity = capacity
            kernel.drain(ended_s + load.drain_s)
            return book.settle(kernel, ended_s)
        if load.duration_s is None:
            book.run(math.inf)
            ended_s = kernel.now_s
        else:
            book.run(load.duration_s)
            ended_s = kernel.now_s if kernel.is_stopped else load.duration_s
            kernel.drain(load.duration_s + load.drain_s)
        fleet.audit()
        book.fleet_counters = fleet.counters()
        return book.settle(kernel, ended_s)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look seldom: a simulation's objects form next to no cycles."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


class Book:
    """Notes what happens and starts the next session of a slot when one has ended."""

    def __init__(self, experiment: Experiment, source: Source, pacing: Pacing, watch: Watch | None) -> None:
        self._watch = watch
        self._ended_count = 0
        self._experiment = experiment
        self._source = source
        self._pacing = pacing
        self._kernel: Kernel | None = None
        self._rows = RowSpool()
        self._steps: list[AgentStep] = []
        self.fresh: list[RequestRow] | None = None
        self.capacity: dict[str, Any] | None = None
        self._started_s: dict[str, float] = {}
        """When each live agent started."""
        self._taken_s: dict[bool, list[float]] = {True: [], False: []}
        """How long agents took: orchestrators, others."""
        self._slot_of: dict[str, int] = {}
        """The slot of each session that has not ended."""
        self._session_in: dict[int, str] = {}
        self._generations: dict[int, int] = {}
        self._until_s: dict[int, float] = {}
        """When each slot's span ends, where it does."""
        self._sent_count = 0
        self._sessions_started = 0
        self._sessions_finished = 0
        self._refusals: dict[str, int] = {}
        self.fleet_counters: dict[str, Any] | None = None

    def attach(self, kernel: Kernel) -> None:
        """Play sessions on a kernel."""
        self._kernel = kernel

    def run(self, until_s: float) -> None:
        """Play the slots in their spans."""
        kernel = self._kernel
        assert kernel is not None
        ends: list[tuple[float, int, int]] = []
        for slot in range(self._pacing.slots):
            self._enter(slot, 0, ends)
        while ends and ends[0][0] <= until_s:
            end_s, slot, index = heappop(ends)
            kernel.run(end_s)
            if kernel.is_stopped:
                return
            self.close(slot, end_s)
            self._enter(slot, index + 1, ends)
        kernel.run(until_s)

    def open(self, slot: int, at_s: float) -> None:
        """Let a slot play its next session from a time on, and those after it."""
        generation = self._generations.get(slot, 0)
        index = self._pacing.session_index(slot, generation)
        if index is None:
            return
        agent = self._source.session(index)
        self._generations[slot] = generation + 1
        self._slot_of[agent.path] = slot
        self._session_in[slot] = agent.path
        assert self._kernel is not None
        self._kernel.start(agent, at_s)

    def close(self, slot: int, at_s: float) -> None:
        """Let a slot's session start no more turns, and no other follow it."""
        session = self._session_in.pop(slot, None)
        if session is None:
            return
        del self._slot_of[session]
        assert self._kernel is not None
        self._kernel.retire(session, at_s)

    def agent_started(self, agent: Agent, at_s: float) -> None:
        """Note an agent's start."""
        is_orchestrator = agent.parent is None
        self._started_s[agent.path] = at_s
        self._sessions_started += is_orchestrator
        self._steps.append(AgentStep(at_s, 1, is_orchestrator, None, False))

    def agent_ended(self, agent: Agent, at_s: float) -> None:
        """Note an agent's end; a session's end starts the slot's next one."""
        is_orchestrator = agent.parent is None
        self._steps.append(AgentStep(at_s, -1, is_orchestrator, None, True))
        taken_s = at_s - self._started_s.pop(agent.path)
        if at_s >= self._experiment.load.warmup_s:
            self._taken_s[is_orchestrator].append(taken_s)
        if is_orchestrator:
            self._sessions_finished += 1
            slot = self._slot_of.pop(agent.path)
            del self._session_in[slot]
            if at_s < self._until_s.get(slot, math.inf):
                self.open(slot, at_s)

    def agent_stopped(self, agent: Agent, at_s: float) -> None:
        """Note that an agent's slot is no longer in use."""
        self._steps.append(AgentStep(at_s, -1, agent.parent is None, None, False))
        del self._started_s[agent.path]

    def request_sent(self, at_s: float) -> None:
        """Note a request."""
        self._sent_count += 1

    def request_ended(self, flight: Flight, end: Finished | Refused) -> None:
        """Note how a request ended."""
        self._ended_count += 1
        if self._watch is not None and self._ended_count % WATCH_REQUESTS == 0:
            kernel = self._kernel
            assert kernel is not None
            if not self._watch.goes_on(kernel.now_s, self._ended_count, len(kernel.flights)):
                kernel.is_stopped = True
        if isinstance(end, Refused) and (end.reason in self._refusals or len(self._refusals) < REASONS_MAX):
            self._refusals[end.reason] = self._refusals.get(end.reason, 0) + 1
        self._note(row_of(flight, end, measured_from_s=self._experiment.load.warmup_s))

    def settle(self, kernel: Kernel, ended_s: float) -> Results:
        """Add everything up; requests still open are interrupted."""
        warmup_s = self._experiment.load.warmup_s
        for _, flight in sorted(kernel.flights.items()):
            self._note(interrupted_row(flight, kernel.now_s, measured_from_s=warmup_s))
        measured_from_s = min(warmup_s, ended_s)
        agents = count_agents(self._steps, from_s=measured_from_s, to_s=ended_s)
        rows = self._rows.ordered()
        windows = windows_of(self._experiment)
        for start in range(0, rows.num_rows, WINDOWED_ROWS):
            windows.add(rows.slice(start, WINDOWED_ROWS))
        for step in self._steps:
            note = windows.agent_started if step.change > 0 else windows.agent_ended
            note(step.at_s, host=0, is_subagent=not step.is_orchestrator)
        totals = RunTotals(
            measured_from_s=measured_from_s,
            measured_to_s=ended_s,
            sessions_started=self._sessions_started,
            sessions_finished=self._sessions_finished,
            orchestrators_started=agents.orchestrators,
            subagents_started=agents.subagents,
            peak_live=agents.peak_live,
            live_agents_mean=agents.live_mean,
            sent=self._sent_count,
            in_flight=0,
            unaccounted=0,
            itl=None,
            loop_lag=None,
            hosts=(),
            sessions_asked_mean=None,
            sessions_live_mean=None,
            counters=None,
            capacity=self.capacity,
            faults=(),
            session_s=tuple(self._taken_s[True]),
            subagent_s=tuple(self._taken_s[False]),
            fleet=self.fleet_counters,
            refusals=tuple(self._refusals.items()),
        )
        return Results(rows, totals, windows, ())

    def _note(self, row: RequestRow) -> None:
        self._rows.append(row)
        if self.fresh is not None:
            self.fresh.append(row)

    def _enter(self, slot: int, index: int, ends: list[tuple[float, int, int]]) -> None:
        """Begin a slot's span of that index, if it has one."""
        spans = self._pacing.spans(slot)
        if index >= len(spans):
            return
        span = spans[index]
        self._until_s[slot] = math.inf if span.end_s is None else span.end_s
        if span.start_s < self._until_s[slot]:
            self.open(slot, span.start_s)
        if span.end_s is not None:
            heappush(ends, (span.end_s, slot, index))
