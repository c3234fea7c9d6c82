"""A host's book: what was sent and what came of it, in batches for the coordinator and its own journal."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from swarm.config.slo import ObjectiveConfig
from swarm.context.ideal import Ideal
from swarm.context.tree import Node
from swarm.cpu_wait import cpu_wait_s
from swarm.live.clock import RunClock
from swarm.live.loop_lag import LoopLag
from swarm.live.network_bytes import network_bytes
from swarm.live.targets.turn import TurnResult
from swarm.live.turn_rows import OpenRequest, row_of
from swarm.load.purse import Purse, Spent
from swarm.measure.latency import flags
from swarm.measure.sketch import Sketch
from swarm.measure.slo import within_all
from swarm.measure.window import Windows
from swarm.records.batch import AgentStep, Batch, FailureExample, Gauges, Place
from swarm.records.journal import Journal
from swarm.records.row import HOST_LOST, UNSENT, RequestRow
from swarm.records.rows import RowTable, batch_of, to_message
from swarm.records.takeover import Takeover
from swarm.workload.effects import Agent, Infer

FAULTS_MAX = 16
"""Faults told in one batch."""
EXAMPLES_MAX = 2
"""Failed requests of each class that a host tells of in words."""


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
        takeover: Takeover | None,
        follows: tuple[int, ...],
        objectives: Sequence[ObjectiveConfig],
        purse: Purse | None = None,
    ) -> None:
        self._clock = clock
        self._purse = purse
        self._begun_s = clock.now_s()
        self._windows = windows
        self._host = host
        self._epoch = epoch
        self._sequence = 0
        self._ideal = Ideal(block_tokens=block_tokens)
        self._rows = RowTable()
        self._journal: Journal | None = None
        self._refusal = ""
        self._lag = lag
        self._takeover = takeover
        self._follows = follows
        self._objectives = objectives
        self._failures: dict[str, int] = {}
        self._sessions_ended: list[tuple[str, float]] = []
        self._faults: list[str] = []
        self._program_failed = False
        self._told: dict[str, int] = {}
        """Of each class of failures, how many examples were told."""
        self._examples: list[FailureExample] = []
        self._doubts: dict[str, int] = {}
        self._unreported: dict[tuple[str, int], OpenRequest] = {}
        """Requests sent since the last batch and still open."""
        if journal is not None:
            self._open(Path(journal) / f"host-{host:05d}-{epoch}.journal")
        self._gaps_s = array("d")
        """Between deltas of measured requests since the last batch."""
        self._places_known: set[str] = set()
        self._places: list[Place] = []
        self._steps: list[AgentStep] = []
        self._sessions_started = 0
        self._sessions_finished = 0
        self._put_off_s = 0.0
        self._skipped_s = 0.0
        self._skips: list[tuple[float, float]] = []
        """Since the last batch."""
        self._sent_count = 0
        self._open_count = 0
        self._ended_count = 0
        self._failed_count = 0

    def agent_started(self, agent: Agent, at_s: float) -> None:
        """Note an agent's start; one that its lost host has noted and not ended goes on."""
        takeover = self._takeover
        if takeover is not None and (agent.path in takeover.live or agent.path in takeover.finished):
            return
        is_orchestrator = agent.parent is None
        self._sessions_started += is_orchestrator and (takeover is None or agent.path not in takeover.started)
        self._steps.append(AgentStep(at_s, 1, is_orchestrator, agent.path, False))
        self._windows.agent_started(at_s, host=self._host, is_subagent=not is_orchestrator)

    def agent_ended(self, agent: Agent, at_s: float, *, finished: bool) -> None:
        """Note an agent's end, whether its program returned or the run stopped it."""
        if self._takeover is not None and agent.path in self._takeover.finished:
            return
        is_orchestrator = agent.parent is None
        self._steps.append(AgentStep(at_s, -1, is_orchestrator, agent.path, finished))
        self._windows.agent_ended(at_s, host=self._host, is_subagent=not is_orchestrator)

    def skipped(self, at_s: float, seconds: float) -> None:
        """Note that so much time was skipped, in which nothing was in flight."""
        self._skipped_s += seconds
        self._skips.append((at_s, seconds))

    def session_finished(self, session: str, at_s: float) -> None:
        """Note that a session came to its own end."""
        self._sessions_finished += 1
        self._sessions_ended.append((session, at_s))

    def sent(self, request: OpenRequest) -> int:
        """Note a request; return its ideal hit as far as this host's own sends tell."""
        self._sent_count += 1
        self._open_count += 1
        self._unreported[request.agent.path, request.turn] = request
        self._note_place(request.effect.prompt.node)
        return self._ideal.send(*request.effect.prompt)

    def missed(self) -> None:
        """Note a request that the lost host must have sent, of which nothing is known."""
        self._sent_count += 1

    def fault(self, words: str) -> None:
        """Note what went wrong; the run's validity is judged by it."""
        if len(self._faults) < FAULTS_MAX:
            self._faults.append(words)

    def program_fault(self, words: str) -> None:
        """Note that a program broke a rule; of several agents' the first one tells enough."""
        if not self._program_failed:
            self._program_failed = True
            self.fault(words)

    def put_off(self, seconds: float) -> None:
        """Note that the start of a session was put off because this host is behind."""
        self._put_off_s += seconds

    @property
    def is_refused(self) -> bool:
        """Whether this host's disk refuses its journal: nothing more may be sent that could not be told."""
        return bool(self._refusal)

    def ended(self, effect: Infer, row: RequestRow, gaps_s: Sequence[float]) -> None:
        """Note how a request ended, with the gaps between its deltas."""
        self._open_count -= 1
        self._unreported.pop((row.agent, row.turn), None)
        self._rows.append(row)
        if row.outcome == "failed" and row.error_class is not None:
            self._failures[row.error_class] = self._failures.get(row.error_class, 0) + 1
        self._ended_count += row.outcome != "interrupted"
        self._failed_count += row.outcome == "failed"
        if row.outcome != "ok":
            return
        if effect.echo:
            self._ideal.output(effect.prompt, row.output_tokens)
        if row.measured:
            self._gaps_s.extend(gaps_s)

    def unsent(self, request: OpenRequest, waited_s: float) -> None:
        """Note a turn that was due, and still waited for admission when the run ended."""
        result = TurnResult(outcome="interrupted", completed_s=request.sent_s, admission_wait_s=waited_s)
        row = row_of(request, result, gaps_s=(), origin_s=0.0, ideal_tokens=0, host=self._host)
        row.due_s, row.attempts, row.error_class = request.intended_s, 0, UNSENT
        self._rows.append(row)

    def remarked(self, row: RequestRow, result: TurnResult) -> None:
        """Note what a request failed of, and which counts of the server were no use."""
        for name in result.doubts:
            self._doubts[name] = self._doubts.get(name, 0) + 1
        kind = row.error_class
        if kind is None or row.outcome != "failed" or not result.error:
            return
        told = self._told.get(kind, 0)
        if told < EXAMPLES_MAX:
            self._told[kind] = told + 1
            self._examples.append(FailureExample(kind, result.http_status, result.error))

    def take(self, *, is_last: bool = False, waiting: int = 0, due: int = 0) -> Batch:
        """Return everything since the last call as the next batch, written to the journal first.

        One that the journal refuses says so, and the host is to start no more turns. `waiting`: how many
        earlier ones nobody has acknowledged; `due`: how many sessions play before the next one.
        """
        itl = Sketch()
        itl.add_many(np.frombuffer(self._gaps_s))
        self._gaps_s = array("d")
        lag = Sketch()
        lag.add_many(self._lag.take())
        rows = self._rows.take()
        self._windows.add(rows)
        good = self._good(rows)
        opened = [self._provisional(request) for request in self._unreported.values()]
        self._unreported = {}
        if opened:
            rows = pa.concat_tables([rows, pa.Table.from_batches([batch_of(opened)])])
        places, self._places = self._places, []
        steps, self._steps = self._steps, []
        ended, self._sessions_ended = self._sessions_ended, []
        faults, self._faults = self._faults, []
        examples, self._examples = self._examples, []
        doubts, self._doubts = self._doubts, {}
        failures, self._failures = self._failures, {}
        skips, self._skips = self._skips, []
        batch = Batch(
            host=self._host,
            epoch=self._epoch,
            sequence=self._sequence,
            is_last=is_last,
            rows=to_message(rows),
            open_rows=len(opened),
            windows=self._windows.take().to_bytes(),
            places=tuple(places),
            agents=tuple(steps),
            itl=itl.to_bytes(),
            loop_lag=lag.to_bytes(),
            gauges=self._gauges(),
            sessions_ended=tuple(ended),
            follows=self._follows,
            faults=tuple(faults),
            examples=tuple(examples),
            doubts=tuple(doubts.items()),
            begun_s=self._begun_s,
            program_failed=self._program_failed,
            refusal=self._refusal,
            due=due,
            waiting=waiting,
            failures=tuple(failures.items()),
            good=good,
            skips=tuple(skips),
        )
        self._sequence += 1
        return self._kept(batch)

    def _gauges(self) -> Gauges:
        """Return what is known of the host now."""
        spent = Spent(0.0, 0.0) if self._purse is None else self._purse.spent
        sent_bytes, received_bytes = network_bytes()
        return Gauges(
            at_s=self._clock.now_s(),
            sessions_started=self._sessions_started,
            sessions_finished=self._sessions_finished,
            open_requests=self._open_count,
            sent=self._sent_count,
            cpu_s=time.process_time(),
            cpu_wait_s=cpu_wait_s(),
            put_off_s=self._put_off_s,
            skipped_s=self._skipped_s,
            sent_bytes=sent_bytes,
            received_bytes=received_bytes,
            ended=self._ended_count,
            failed=self._failed_count,
            spent_tokens=spent.tokens,
            spent_cost=spent.cost,
            is_spent=self._purse is not None and self._purse.is_empty,
        )

    def _good(self, rows: pa.Table) -> int:
        """Return how many of the rows finished within every objective; 0 where there is none."""
        if not self._objectives:
            return 0
        return int((flags(rows, "outcome", "ok") & within_all(self._objectives, rows)).sum())

    def _kept(self, batch: Batch) -> Batch:
        """Write the batch to the journal; where that fails, return it as one that is in no journal."""
        if self._journal is None:
            return batch
        try:
            self._journal.append(batch.frame())
        except OSError as fault:
            self._refuse(self._journal.path, fault)
            return replace(batch, refusal=self._refusal)
        return batch

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(path)
        except OSError as fault:
            self._refuse(path, fault)

    def _refuse(self, path: Path, fault: OSError) -> None:
        """Note that the disk does not take the journal, with what that ends."""
        self._journal = None
        self._refusal = (
            f"host {self._host}: its journal {path} refuses writes: {fault.strerror}; it started no turn "
            f"after {self._clock.now_s():.1f} s"
        )

    def _provisional(self, request: OpenRequest) -> RequestRow:
        """Return what the request's row will be if its host is lost."""
        result = TurnResult(outcome="interrupted")
        result.sent_s = result.completed_s = request.sent_s
        row = row_of(request, result, gaps_s=(), origin_s=0.0, ideal_tokens=0, host=self._host)
        row.error_class = HOST_LOST
        return row

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
