"""What happens in a simulation, recorded as it happens and added up at its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.fleet.busy import FleetBusy
from swarm.fleet.events import Finished, Refused
from swarm.load.pacing import Pacing
from swarm.load.requested import asked_sessions_mean
from swarm.measure.delivery import delivery_of, herd_of
from swarm.measure.results import Results
from swarm.measure.saturation import of_fleet
from swarm.measure.totals import RunTotals
from swarm.measure.window import Windows, windows_of
from swarm.records.batch import AgentStep, FailureExample
from swarm.records.columns import SCHEMA
from swarm.records.rows import RowValues, batch_of_values
from swarm.records.spool import RowSpool
from swarm.records.tier_looks import LOOKS_MAX, TierLook, TierState, thinned
from swarm.sim.kernel import Kernel, SimulatedRequest
from swarm.sim.request_rows import ended_row, interrupted_row, refusal_class, unsent_row
from swarm.workload.effects import Agent

REASONS_MAX = 8
"""Different reasons of refusals that are kept."""
WINDOWED_ROWS = 16_384
"""Rows that are added to the windows at once: their columns are in memory for that."""


class Recorder:
    """Records a kernel's agents and requests."""

    def __init__(self, experiment: Experiment, pacing: Pacing) -> None:
        self._experiment = experiment
        self._pacing = pacing
        self._measured_from_s = experiment.load.warmup_s
        self._rows = RowSpool()
        self._latest: list[RowValues] | None = None
        """Rows since they were last taken, where anybody takes them."""
        self._steps: list[AgentStep] = []
        self._started_s: dict[str, tuple[float, bool]] = {}
        """When each live agent started, and whether it is an orchestrator."""
        self._taken_s: dict[bool, list[float]] = {True: [], False: []}
        """How long agents took that ended in the measured phase: orchestrators, others."""
        self._sent_count = 0
        self._sessions_started = 0
        self._sessions_finished = 0
        self._refusals: dict[str, int] = {}
        self._examples: dict[str, FailureExample] = {}
        """By class of failures, the first one in the fleet's words."""
        self._tiers: Callable[[], tuple[TierState, ...]] | None = None
        self._looks: list[TierLook] = []
        self._look_s = math.inf
        """When the memories are looked at next: at the first request that is sent or ends from then on."""
        self._look_every_s = experiment.window_s

    def watch(self, tiers: Callable[[], tuple[TierState, ...]]) -> None:
        """Look at a fleet's memories from now on, once a window."""
        self._tiers = tiers
        self._look(0.0)

    def agent_started(self, agent: Agent, at_s: float) -> None:
        """Record an agent's start."""
        is_orchestrator = agent.parent is None
        self._started_s[agent.path] = at_s, is_orchestrator
        self._sessions_started += is_orchestrator
        self._steps.append(AgentStep(at_s, 1, is_orchestrator, None, False))

    def agent_ended(self, agent: Agent, at_s: float) -> None:
        """Record that an agent came to its own end."""
        is_orchestrator = agent.parent is None
        self._steps.append(AgentStep(at_s, -1, is_orchestrator, None, True))
        taken_s = at_s - self._started_s.pop(agent.path)[0]
        if at_s >= self._measured_from_s:
            self._taken_s[is_orchestrator].append(taken_s)
        self._sessions_finished += is_orchestrator

    def agent_stopped(self, agent: Agent, at_s: float) -> None:
        """Record that an agent's slot is no longer in use."""
        self._steps.append(AgentStep(at_s, -1, agent.parent is None, None, False))
        del self._started_s[agent.path]

    def request_sent(self, at_s: float) -> None:
        """Record a request."""
        self._sent_count += 1
        if at_s >= self._look_s:
            self._look(at_s)

    def request_ended(self, request: SimulatedRequest, end: Finished | Refused) -> None:
        """Record how a request ended."""
        if isinstance(end, Refused):
            self._refused(end)
        row = ended_row(request, end, measured_from_s=self._measured_from_s)
        self._rows.append(row)
        if self._latest is not None:
            self._latest.append(row)
        if end.at_s >= self._look_s:
            self._look(end.at_s)

    def _refused(self, end: Refused) -> None:
        if end.reason in self._refusals or len(self._refusals) < REASONS_MAX:
            self._refusals[end.reason] = self._refusals.get(end.reason, 0) + 1
        error_class = refusal_class(end)
        self._examples.setdefault(error_class, FailureExample(error_class, None, end.reason))

    def take_latest(self) -> pa.Table:
        """Return the rows since the last call; the first call returns none, and begins to keep them."""
        rows, self._latest = self._latest or [], []
        return pa.Table.from_batches([batch_of_values(rows)] if rows else [], schema=SCHEMA)

    def results(
        self,
        kernel: Kernel,
        ended_s: float,
        *,
        capacity: dict[str, Any] | None,
        fleet: dict[str, Any] | None,
        faults: tuple[str, ...],
        busy: FleetBusy | None = None,
    ) -> Results:
        """Add everything up; requests still open are interrupted.

        `capacity` is a search's answer, `fleet` what the fleet counted, `faults` why not to believe the run;
        `busy` how busy the fleet was from the warm-up on.
        """
        for _, request in sorted(kernel.in_flight.items()):
            self._rows.append(interrupted_row(request, kernel.now_s, measured_from_s=self._measured_from_s))
        for request in kernel.unsent:
            self._rows.append(unsent_row(request, ended_s, measured_from_s=self._measured_from_s))
        rows = self._rows.ordered()
        totals = self._totals(rows, ended_s, capacity, fleet, faults)
        if busy is not None:
            seconds = ended_s - totals.measured_from_s
            totals = replace(totals, saturation=of_fleet(busy, seconds))
        if self._tiers is not None:
            self._look(kernel.now_s)
        looks = tuple(self._looks)
        return Results(rows, totals, self._windows(rows), (), tiers=looks, skipped_s=kernel.skipped_s)

    def _look(self, at_s: float) -> None:
        assert self._tiers is not None
        self._looks.append(TierLook(at_s, self._tiers()))
        if len(self._looks) > LOOKS_MAX:
            self._looks = thinned(self._looks)
            self._look_every_s *= 2
        self._look_s = at_s + self._look_every_s

    def _totals(
        self,
        rows: pa.Table,
        ended_s: float,
        capacity: dict[str, Any] | None,
        fleet: dict[str, Any] | None,
        faults: tuple[str, ...],
    ) -> RunTotals:
        experiment, measured_from_s = self._experiment, min(self._measured_from_s, ended_s)
        delivered = delivery_of(self._steps, rows, experiment, from_s=measured_from_s, ended_s=ended_s)
        agents = delivered.agents
        return RunTotals(
            measured_from_s=measured_from_s,
            measured_to_s=delivered.to_s,
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
            sessions_asked_mean=asked_sessions_mean(self._pacing, from_s=measured_from_s, to_s=ended_s),
            sessions_live_mean=delivered.sessions_live_mean,
            counters=None,
            capacity=capacity,
            faults=faults,
            session_s=tuple(self._taken_s[True]),
            subagent_s=tuple(self._taken_s[False]),
            session_open_s=self._open_s(ended_s, orchestrators=True),
            subagent_open_s=self._open_s(ended_s, orchestrators=False),
            ran_out_s=delivered.ran_out_s,
            herd=herd_of(rows, experiment, from_s=measured_from_s),
            fleet=fleet,
            refusals=tuple(self._refusals.items()),
            examples=tuple(self._examples.values()),
        )

    def _open_s(self, ended_s: float, *, orchestrators: bool) -> tuple[float, ...]:
        """Return how long agents had taken that had not ended when the load did."""
        started = [
            at_s for at_s, is_orchestrator in self._started_s.values() if is_orchestrator is orchestrators
        ]
        return tuple(max(0.0, ended_s - at_s) for at_s in started)

    def _windows(self, rows: pa.Table) -> Windows:
        windows = windows_of(self._experiment)
        for start in range(0, rows.num_rows, WINDOWED_ROWS):
            windows.add(rows.slice(start, WINDOWED_ROWS))
        for step in self._steps:
            note = windows.agent_started if step.change > 0 else windows.agent_ended
            note(step.at_s, host=0, is_subagent=not step.is_orchestrator)
        return windows
