"""The driver of a live run: from the start of its hosts to the end of the last one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarm.config.experiment import Experiment
from swarm.errors import Interrupted
from swarm.interrupts import Interrupts
from swarm.live.coordinator import Snapshot
from swarm.live.directed_slots import Order
from swarm.live.driver.abort import Abort
from swarm.live.driver.busy_watch import BusyWatch
from swarm.live.driver.coordinator_contact import CoordinatorContact
from swarm.live.driver.late_hosts import LateHosts
from swarm.live.driver.launcher import Failed, Lost, Outcome, Returned
from swarm.live.driver.load_time import ENDING_S_MAX, LoadTime
from swarm.live.driver.progress import RunProgress
from swarm.live.driver.recovered import Recovered
from swarm.live.driver.shares import Shares, shortfalls
from swarm.live.driver.swarm import Swarm
from swarm.live.targets.counters import difference
from swarm.load.pacing import Pacing
from swarm.load.requested import asked_sessions_mean
from swarm.measure.saturation import ServerBusy
from swarm.measure.server_time import ServerSample
from swarm.measure.totals import ServerCounters
from swarm.records.batch import Batch

if TYPE_CHECKING:
    from swarm.live.searching import Searching

START_DELAY_S = 0.5
"""Between the last host's readiness and the run's time 0, so that all clocks are set before it."""
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class RunEnd:
    """When the load ended, and what went wrong."""

    at_s: float
    faults: tuple[str, ...]
    counters: ServerCounters | None
    sessions_asked_mean: float | None
    clock_offsets_s: dict[int, float]
    capacity: dict[str, Any] | None = None
    """What a search has found."""
    unstored: tuple[Batch, ...] = ()
    """Reports that no disk took: they are here and nowhere else."""
    warnings: tuple[str, ...] = ()
    """Where nodes were expected not to carry their hosts, in words."""
    busy: tuple[ServerBusy | None, ServerBusy | None] = (None, None)
    """What the target's servers had counted when the measured phase began, and when it ended."""
    start_unix_s: float = 0.0
    """When the run's time was 0."""
    server: tuple[ServerSample, ...] = ()
    """Looks at the target's counters, in order."""
    notes: tuple[str, ...] = ()
    """What a reader of the run must know of its end."""


class Driver:
    """Starts hosts at one time, and sees that every session of theirs goes on until the load ends."""

    def __init__(
        self,
        experiment: Experiment,
        pacing: Pacing,
        *,
        coordinator: CoordinatorContact,
        counters: Callable[[], ServerCounters | None],
        load: LoadTime,
        progress: RunProgress,
        recovered: Recovered | None,
        searching: Searching | None,
        servers: BusyWatch,
        shares: Shares,
        swarm: Swarm,
        stop_drain_s: float | None,
    ) -> None:
        """`counters` reads what the target has counted; `stop_drain_s` bounds the drain after a signal."""
        self._experiment = experiment
        self._pacing = pacing
        self._coordinator = coordinator
        self._counters = counters
        self._load = load
        self._progress = progress
        self._recovered = recovered
        self._searching = searching
        self._servers = servers
        self._shares = shares
        self._swarm = swarm
        self._stop_drain_s = math.inf if stop_drain_s is None else stop_drain_s
        self._warnings: tuple[str, ...] = ()
        self._late = LateHosts()
        self._abort = (
            None if searching is not None or _refuses_by_plan(experiment) else Abort(experiment.abort)
        )
        self._faults: list[str] = []
        self._refusal: str | None = None
        self._unstored: list[Batch] = []
        self._notes: list[str] = []

    def drive(self, interrupts: Interrupts, begin: Callable[[], None]) -> RunEnd:
        """Start all hosts at one time, right after `begin` was called, and wait for the last of them.

        Raises Interrupted where a signal comes before that.
        """
        self._start_hosts()
        self._swarm.wait_until_ready(interrupts.heed)
        self._look_around()
        self._coordinator.wait_until_ready(interrupts.heed)
        interrupts.heed()
        with interrupts.at_once():
            offsets_s = self._swarm.clock_offsets()
            counted = self._counters()
        interrupts.heed()
        begin()
        recovered = self._recovered
        self._load.begin(0.0 if recovered is None else recovered.stopped_s, after_s=START_DELAY_S)
        self._swarm.begin_all(self._load.start_unix_s)
        while self._swarm.processes.are_playing or self._late:
            self._start_due()
            self._look()
            if interrupts.received is not None:
                self._heed()
            else:
                self._servers.look(self._load.now_s, has_ended=self._load.has_ended)
        ended_s = self._load.ended_s
        try:
            with interrupts.at_once():
                counted = self._counted_since(counted)
        except Interrupted:
            counted = None
        return RunEnd(
            at_s=ended_s,
            faults=tuple(self._faults),
            counters=counted,
            sessions_asked_mean=asked_sessions_mean(
                self._pacing, from_s=self._experiment.load.warmup_s, to_s=ended_s
            ),
            clock_offsets_s=offsets_s,
            capacity=None if self._searching is None else self._searching.answer(),
            unstored=tuple(self._unstored) + (self._coordinator.unstored() if self._refusal else ()),
            warnings=self._warnings,
            busy=(self._servers.before, self._servers.after),
            start_unix_s=self._load.start_unix_s,
            notes=tuple(self._notes),
        )

    def _counted_since(self, before: ServerCounters | None) -> ServerCounters | None:
        """Return what the target has counted since then; None, with a word, where its counters began anew."""
        after = self._counters()
        counted = difference(before, after)
        if counted is None and before is not None and after is not None:
            self._progress.note(
                "the target's own counters are left aside: they went back during the run, so a server has "
                "begun anew"
            )
        return counted

    def _start_hosts(self) -> None:
        """Start the hosts that are needed from the start, and queue the others."""
        for host in range(self._swarm.plans.hosts_count):
            at_s = self._swarm.plans.start_s(host)
            if self._recovered is not None:
                self._swarm.resume(host, self._recovered.batches)
            elif at_s > 0:
                self._late.put(host, at_s)
            else:
                self._swarm.start(host)

    def _look_around(self) -> None:
        """Warn where a node will not carry what is placed on it."""
        self._warnings = tuple(shortfalls(self._shares, self._swarm.rooms()))
        for words in self._warnings:
            self._progress.note(f"warning: {words}")

    def _start_due(self) -> None:
        """Start the hosts that the ramp will need soon, on the nodes that are there by then."""
        if self._load.has_ended:
            self._late.clear()
        for host in self._late.due(self._load.now_s):
            self._swarm.start(host)
            self._begin(host)
            started_count = len(self._swarm.processes.by_host)
            self._progress.note(f"host {host} is started: {started_count} of {self._swarm.plans.hosts_count}")

    def _begin(self, host: int) -> None:
        """Let a host play that starts while others do."""
        order = None
        if self._searching is not None:
            # It begins with what the others are at, and at once.
            agents = self._searching.order.agents
            order = Order(agents, agents, self._load.now_s, 0.0)
        self._swarm.begin(host, self._load.start_unix_s, order)

    def _look(self) -> None:
        """Take in what has happened since the last look."""
        for host, outcome in self._swarm.processes.ended(POLL_S):
            self._note_end(host, outcome)
        snapshot = self._coordinator.snapshot()
        if snapshot is None:
            self._swarm.excuse()
            if self._coordinator.is_lost and not self._load.is_stopped:
                self._faults.append("the coordinator was lost and did not come back")
                self._stop()
        else:
            self._take(snapshot)
        for host in self._swarm.silent():
            self._lose(host, "it reported nothing")
        if self._load.is_overdue:
            for host in self._swarm.running:
                self._faults.append(f"host {host} did not end within {ENDING_S_MAX:.0f} s of the load's end")
                self._lose(host, "it did not end")

    def _take(self, snapshot: Snapshot) -> None:
        """Take in the run's state as last reported."""
        self._swarm.hear(snapshot.heard)
        self._progress.show(snapshot)
        if snapshot.refusal is not None:
            self._refuse(snapshot.refusal)
            self._swarm.excuse()
        if snapshot.program_failed and not self._load.has_ended:
            self._progress.note("a program has broken a rule: the run is stopped")
            self._stop()
        self._heed_bounds(snapshot)
        if self._searching is not None and not self._load.is_stopped:
            self._searching.step(self._load.now_s, snapshot.open_requests)
            if self._searching.is_done:
                self._stop()

    def _heed_bounds(self, snapshot: Snapshot) -> None:
        """End the load where its budget is spent, or where too much of it fails."""
        if snapshot.is_spent and not self._load.has_ended:
            self._progress.note("load.budget: the next request would pass it: the load is stopped")
            self._notes.append(
                f"load.budget was spent at {self._load.now_s:.1f} s: the load was stopped there"
            )
            self._stop()
        if self._abort is not None and not self._load.has_ended:
            reason = self._abort.reason(self._load.now_s, snapshot)
            if reason is not None:
                self._progress.note(reason)
                self._faults.append(reason)
                self._stop()

    def _note_end(self, host: int, outcome: Outcome) -> None:
        if isinstance(outcome, Lost):
            self._lose(host, outcome.why)
            return
        self._swarm.note_end(host)
        if isinstance(outcome, Returned) and outcome.value:
            self._unstored += outcome.value
            self._refuse(f"host {host} ended with reports that nobody took")
        if isinstance(outcome, Failed):
            self._faults.append(f"host {host} failed: {outcome.why}")

    def _lose(self, host: int, why: str) -> None:
        """End a host for certain, and let another one go on with its sessions while there is load left."""
        self._swarm.end(host, why)
        if self._load.has_ended:
            return
        fault = self._swarm.replace(host, why)
        if fault is not None:
            self._faults.append(f"host {host} {fault}")
            return
        self._begin(host)
        self._progress.note(f"host {host}: its sessions go on in epoch {self._swarm.epoch(host)}")

    def _refuse(self, words: str) -> None:
        """End the load: what would be sent from now on could be lost unseen."""
        if self._refusal is not None:
            return
        self._refusal = words
        self._progress.note(f"reports cannot be stored: {words}: no more turns are started")
        if not self._load.has_ended:
            at_s = self._load.now_s
            self._faults.append(f"reports could not be stored: {words}: the load was ended at {at_s:.1f} s")
        self._stop()

    def _heed(self) -> None:
        """Do as a signal asks: end the load, and the drain when the time that a signal leaves it is over."""
        self._stop()
        if self._load.since_stop_s >= self._stop_drain_s:
            self._stop_drain_s = math.inf
            self._swarm.processes.stop()

    def _stop(self) -> None:
        if not self._load.is_stopped:
            self._load.stop()
            self._swarm.processes.stop()


def _refuses_by_plan(experiment: Experiment) -> bool:
    """Whether the experiment states a plan with limits, which refuse requests on purpose."""
    provider = experiment.fleet.provider
    return provider is not None and provider.has_limits
