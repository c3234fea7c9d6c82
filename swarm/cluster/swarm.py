"""The actors of one run: started, watched, replaced when they are lost, and ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from swarm.cluster.actors import RemoteCoordinator, RemoteHost
from swarm.cluster.clocks import clock_offsets
from swarm.cluster.fronts import Fronts
from swarm.cluster.metrics import Metrics
from swarm.cluster.placement import host_count
from swarm.cluster.salvage import fetch
from swarm.cluster.searching import Searching
from swarm.cluster.ship import ship
from swarm.config.experiment import Experiment
from swarm.errors import RunError
from swarm.interrupts import Interrupts
from swarm.live.coordinator import CoordinatorPlan, Snapshot
from swarm.live.directed_slots import Order
from swarm.live.host import HostPlan
from swarm.live.roster import Roster
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.control import resolve, server_counters
from swarm.live.targets.counters import difference
from swarm.live.targets.fidelity import measured
from swarm.load.assignment import slots_of
from swarm.load.pacing import pacing_of
from swarm.load.requested import asked_sessions_mean
from swarm.measure.totals import ServerCounters
from swarm.records.batch import Batch
from swarm.records.journal import read_batches
from swarm.records.run_folder import RunFolder
from swarm.records.takeover import heard_until, is_lost, past_of
from swarm.report.run.terminal import Live
from swarm.workload.source import Material, open_source, session_index

START_DELAY_S = 0.5
"""Between the last host's readiness and the run's time 0, so that all clocks are set before it."""
POLL_S = 0.5
READY_S_MAX = 300.0
AHEAD_S = 20.0
"""How long before its first session a host is made: a process has to start and import."""
COORDINATOR_S_MAX = 60.0
"""How long a coordinator may be out of reach before the run is stopped."""
COORDINATOR_RESTARTS_MAX = 3
ASK_S_MAX = 5.0
ENDING_S_MAX = 60.0
"""How long after the load's end and its drain hosts may take; then they are given up."""


@dataclass(frozen=True, slots=True)
class Before:
    """What a run left that is gone on with."""

    batches: list[Batch]
    stopped_s: float
    """The run's clock when it stopped; it goes on from there."""
    epoch: int
    """Every epoch before this one is over."""


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


class Swarm:
    """Starts hosts at one time, and sees that every session of theirs goes on."""

    def __init__(
        self,
        experiment: Experiment,
        scripts: Material,
        folder: RunFolder,
        *,
        run_id: str,
        before: Before | None,
    ) -> None:
        self._run_id = run_id
        self._before = before
        self._journals = folder.journals.resolve()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._fronts = Fronts(experiment, here)
        self._experiment = self._with_target(experiment)
        self._coordinator = RemoteCoordinator.options(  # type: ignore[attr-defined]
            scheduling_strategy=here,
            max_restarts=COORDINATOR_RESTARTS_MAX,
            max_task_retries=COORDINATOR_RESTARTS_MAX,
        ).remote(
            CoordinatorPlan(
                self._experiment, str(self._journals), epoch=0 if before is None else before.epoch
            )
        )
        source = open_source(experiment.workload, experiment.seed, scripts)
        self._pacing = pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
        self._hosts_count = host_count(
            experiment, self._pacing.slots, int(ray.cluster_resources().get("CPU", 1))
        )
        self._pieces = ship(scripts)
        self._roster = Roster(
            silent_max_s=experiment.hosts.silent_max_s, epoch=0 if before is None else before.epoch
        )
        self._metrics = Metrics(run_id)
        self._hosts: dict[int, Any] = {}
        self._places: dict[int, Any] = {}
        self._running: dict[Any, int] = {}
        self._follows: dict[int, tuple[int, ...]] = {}
        self._later: list[int] = []
        """Hosts that a ramp will need, in order."""
        self._faults: list[str] = []
        self._stopped_s: float | None = None
        self._start_unix_s = 0.0
        self._reached_s = time.monotonic()
        self._searching: Searching | None = None

    @property
    def experiment(self) -> Experiment:
        """The experiment with its target resolved."""
        return self._experiment

    def drive(self, interrupts: Interrupts, begin: Callable[[], None]) -> RunEnd:
        """Start all hosts at one time, right after `begin` was called, and wait for the last of them.

        Raises Interrupted where a signal comes before that.
        """
        experiment, before = self._experiment, self._before
        with Live(experiment) as live:
            for number in range(self._hosts_count):
                if self._needed_s(number) > 0:
                    self._later.append(number)
                else:
                    self._make(number, [] if before is None else before.batches)
            self._wait_until_ready(live, interrupts)
            offsets_s = clock_offsets(list(self._hosts.values()))
            counted = asyncio.run(server_counters(experiment.target))
            interrupts.heed()
            begin()
            begun_s = 0.0 if before is None else before.stopped_s
            self._start_unix_s = time.time() + START_DELAY_S - begun_s
            for number in self._hosts:
                self._begin(number)
            self._searching = self._search(live)
            while self._running or self._later:
                self._start_due(live)
                self._look(live)
                if interrupts.received is not None:
                    self._stop()
        ended_s = self._ended_s()
        counters = difference(counted, asyncio.run(server_counters(experiment.target)))
        asked = asked_sessions_mean(self._pacing, from_s=experiment.load.warmup_s, to_s=ended_s)
        capacity = None if self._searching is None else self._searching.answer()
        return RunEnd(ended_s, tuple(self._faults), counters, asked, offsets_s, capacity)

    def close(self) -> None:
        """End the provider, if it is ours."""
        self._fronts.close()

    def _search(self, live: Live) -> Searching | None:
        """Return what directs the hosts, where a search does."""
        if self._experiment.load.search is None:
            return None
        return Searching(
            self._experiment,
            self._journals / "coordinator-0.journal",
            most=self._pacing.slots,
            direct=self._direct,
            note=live.note,
        )

    def _direct(self, order: Order) -> None:
        for host in self._hosts.values():
            host.direct.remote(order)

    def _with_target(self, experiment: Experiment) -> Experiment:
        """Return the experiment with a server to drive: its own, started here, where it names none."""
        target = experiment.target
        if self._fronts.urls:
            target = target.model_copy(
                update={"urls": self._fronts.urls, "bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0}
            )
        target = asyncio.run(measured(asyncio.run(resolve(target))))
        return experiment.model_copy(update={"target": target})

    def _make(self, number: int, batches: list[Batch]) -> None:
        """Make a host's actor; with `batches`, one that goes on with what they tell of its sessions."""
        experiment = self._experiment
        known = number in self._hosts
        past = None
        if known or batches:
            # When a run is gone on with, none of its hosts is there any more.
            gone = number if known else None
            past = past_of(
                batches,
                lambda name: self._owns(number, name),
                heard_until_s=heard_until(batches, gone),
                is_lost=is_lost(batches, gone),
            )
        self._roster.start(number, time.monotonic())
        epoch = self._roster.epoch(number)
        last: dict[int, int] = {}
        for batch in batches:
            if batch.host == number:
                last[batch.epoch] = max(batch.sequence, last.get(batch.epoch, -1))
        plan = HostPlan(
            experiment,
            host=number,
            hosts=self._hosts_count,
            epoch=epoch,
            journal=str(self._journals),
            follows=tuple(last.get(earlier, -1) for earlier in range(epoch)),
            past=past,
        )
        self._hosts[number] = RemoteHost.options(  # type: ignore[attr-defined]
            scheduling_strategy="SPREAD",
            # A replacement must find room on what is left of the cluster.
            num_cpus=0 if known else experiment.hosts.cpus_per_host,
        ).remote(
            plan,
            self._coordinator,
            self._run_id,
            experiment.hosts.agents_per_host == 1 or experiment.hosts.subagents == "spread",
            *self._pieces,
        )
        self._places[number] = self._hosts[number].whereabouts.remote()

    def _owns(self, host: int, session: str) -> bool:
        slot = session_index(session) % self._pacing.slots
        return slot in self._slots_of(host)

    def _slots_of(self, host: int) -> range:
        in_turn = self._experiment.hosts.start == "in_turn"
        return slots_of(host, self._hosts_count, self._pacing.slots, in_turn=in_turn)

    def _needed_s(self, host: int) -> float:
        """Return when a host's actor is to be made; 0 with the run."""
        if self._experiment.hosts.start == "together" or self._before is not None:
            return 0.0
        return max(0.0, self._pacing.start_s(self._slots_of(host)[0]) - AHEAD_S)

    def _start_due(self, live: Live) -> None:
        """Start the hosts that the ramp will need soon, on the nodes that are there by then."""
        if self._stopped_s is not None or self._is_over():
            self._later.clear()
        now_s = time.time() - self._start_unix_s
        while self._later and self._needed_s(self._later[0]) <= now_s:
            number = self._later.pop(0)
            self._make(number, [])
            self._begin(number)
            live.note(f"host {number} is started: {len(self._hosts)} of {self._hosts_count}")

    def _begin(self, number: int) -> None:
        self._running[self._hosts[number].run.remote(self._start_unix_s)] = number
        if self._searching is not None:
            # One that takes over begins with what the others are at, and at once.
            agents = self._searching.order.agents
            now_s = time.time() - self._start_unix_s
            self._hosts[number].direct.remote(Order(agents, agents, now_s, 0.0))

    def _wait_until_ready(self, live: Live, interrupts: Interrupts) -> None:
        waiting = [host.clock.remote() for host in self._hosts.values()]
        total, until_s = len(waiting), time.monotonic() + READY_S_MAX
        while waiting:
            interrupts.heed()
            if time.monotonic() > until_s:
                raise RunError(
                    f"{len(waiting)} of {total} hosts were not ready within {READY_S_MAX:.0f} s; "
                    "has the cluster the CPUs that hosts.count x hosts.cpus_per_host ask for?"
                )
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=1.0)
            try:
                ray.get(done)
            except ray.exceptions.RayError as fault:
                raise RunError(f"a host could not be started: {_last_line(fault)}") from None
            if done and total > 1:
                live.note(f"hosts ready: {total - len(waiting)} of {total}")

    def _look(self, live: Live) -> None:
        """Take in what has happened since the last look."""
        done: list[Any] = []
        if self._running:
            done, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=POLL_S)
        else:
            time.sleep(POLL_S)
        for one in done:
            self._note_end(one, self._running.pop(one), live)
        snapshot = self._snapshot()
        now_s = time.monotonic()
        if snapshot is None:
            self._roster.excuse(now_s)
            if now_s - self._reached_s > COORDINATOR_S_MAX and self._stopped_s is None:
                self._faults.append("the coordinator was lost and did not come back")
                self._stop()
        else:
            self._reached_s = now_s
            self._roster.hear(snapshot.heard, now_s)
            if snapshot.refusal is not None:
                live.note(f"reports cannot be stored: {snapshot.refusal}")
                self._roster.excuse(now_s)
            live.show(snapshot)
            self._metrics.show(snapshot)
            self._step_search(snapshot)
        for number in self._roster.silent(now_s):
            self._lose(number, "it reported nothing", live)
        if self._is_overdue():
            for number in self._roster.running:
                self._faults.append(
                    f"host {number} did not end within {ENDING_S_MAX:.0f} s of the load's end"
                )
                self._lose(number, "it did not end", live)

    def _step_search(self, snapshot: Snapshot) -> None:
        searching = self._searching
        if searching is None or self._stopped_s is not None:
            return
        searching.step(time.time() - self._start_unix_s, snapshot.open_requests)
        if searching.is_done:
            self._stop()

    def _note_end(self, one: Any, number: int, live: Live) -> None:
        try:
            ray.get(one)
        except ray.exceptions.RayActorError as fault:
            self._lose(number, _last_line(fault), live)
        except ray.exceptions.RayError as fault:
            self._roster.end(number)
            self._faults.append(f"host {number} failed: {_last_line(fault)}")
        else:
            self._roster.end(number)

    def _lose(self, number: int, why: str, live: Live) -> None:
        """End a host for certain, and let another one go on with its sessions while there is load left."""
        self._roster.end(number)
        self._running = {one: host for one, host in self._running.items() if host != number}
        live.note(f"host {number} is lost: {why}")
        self._ask(self._coordinator.retire.remote(number, self._roster.epoch(number)))
        ray.kill(self._hosts[number])
        place = self._ask(self._places[number])
        left = None if place is None else fetch(place, self._journals)
        if left is not None:
            live.note(f"host {number}: its journal is not to be had: {left}")
        if self._stopped_s is not None or self._is_over():
            return
        if not self._roster.may_replace(number):
            self._faults.append(f"host {number} was lost again and again, the last time: {why}")
            return
        self._make(number, read_batches(sorted(self._journals.glob("*.journal"))))
        self._begin(number)
        live.note(f"host {number}: its sessions go on in epoch {self._roster.epoch(number)}")

    def _stop(self) -> None:
        if self._stopped_s is None:
            self._stopped_s = time.time() - self._start_unix_s
            for host in self._hosts.values():
                host.stop.remote()

    def _snapshot(self) -> Snapshot | None:
        snapshot: Snapshot | None = self._ask(self._coordinator.snapshot.remote())
        return snapshot

    def _ask(self, one: Any) -> Any:
        """Return what an actor answers, or None if it does not."""
        try:
            return ray.get(one, timeout=ASK_S_MAX)
        except ray.exceptions.RayError:
            return None

    def _is_over(self) -> bool:
        limit_s = self._experiment.load.duration_s
        return limit_s is not None and time.time() - self._start_unix_s >= limit_s

    def _is_overdue(self) -> bool:
        load = self._experiment.load
        ends = [at_s for at_s in (self._stopped_s, load.duration_s) if at_s is not None]
        now_s = time.time() - self._start_unix_s
        return bool(ends) and now_s > min(ends) + load.drain_s + ENDING_S_MAX

    def _ended_s(self) -> float:
        ends = [at_s for at_s in (self._stopped_s, self._experiment.load.duration_s) if at_s is not None]
        return min(ends, default=time.time() - self._start_unix_s)


def before_of(folder: RunFolder) -> Before:
    """Return what a run has left in its journals."""
    batches = read_batches(sorted(folder.journals.glob("*.journal")))
    return Before(
        batches=batches,
        stopped_s=heard_until(batches, None),
        epoch=1 + max((batch.epoch for batch in batches), default=-1),
    )


def _last_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[-1].strip() if lines else type(fault).__name__
