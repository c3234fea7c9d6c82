"""A launcher whose processes live as a script says, in virtual time: a run of minutes takes milliseconds."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.interrupts import Interrupts
from swarm.live.coordinator import CoordinatorPlan, Snapshot
from swarm.live.directed_slots import Order
from swarm.live.driver.drive import driver_of
from swarm.live.driver.driver import RunEnd
from swarm.live.driver.launcher import Call, Failed, Lost, Outcome, Returned
from swarm.live.driver.recovered import Recovered
from swarm.live.host_plan import HostPlan
from swarm.live.room import Room
from swarm.measure.window import Windows
from swarm.workload.source import Material

UNIX_S = 1_700_000_000.0
"""The wall clock when a script begins."""
NODE = "10.0.0.1"
ROOM = Room(node=NODE, cores=4.0, files_max=1 << 20, memory_free_bytes=1 << 40)
DRAIN_S = 0.25
"""From a stop, or the load's end, to a host's own end."""


@dataclass(frozen=True)
class Life:
    """What becomes of one epoch of a host; times are the run's, unless they are said to be others."""

    ready_after_s: float = 1.0
    """From its start."""
    unstartable: str | None = None
    """Why its process cannot be made."""
    dies_s: float = math.inf
    fails_s: float = math.inf
    silent_from_s: float = math.inf
    hangs: bool = False
    """It never ends by itself."""
    clock_offset_s: float = 0.0
    journal_fault: str | None = None
    """Why its journal cannot be fetched."""


@dataclass(frozen=True)
class Script:
    """What happens while a run is driven."""

    lives: dict[tuple[int, int], Life] = field(default_factory=dict)
    """By (host, epoch); the others live without trouble."""
    away: tuple[float, float] = (math.inf, math.inf)
    """When the coordinator is out of reach."""
    refuses: tuple[float, float] = (math.inf, math.inf)
    """When the coordinator's disk is full."""
    program_fails_s: float = math.inf
    """When a host reports that a program broke a rule."""
    cpus: int = 4
    room: Room = ROOM
    """Of every host."""


@dataclass(eq=False)
class ScriptedCall:
    """A call that ends at a time, with an outcome."""

    end: Callable[[], tuple[float, Outcome]]


class ScriptedLauncher:
    """Processes and clocks by a script; `log` is what the driver asked for, in order."""

    def __init__(self, experiment: Experiment, script: Script) -> None:
        self.experiment = experiment
        self.script = script
        self.plans: list[HostPlan] = []
        self.log: list[tuple[Any, ...]] = []
        self.hosts: list[ScriptedHost] = []
        self.started_s: dict[tuple[int, int], float] = {}
        """By (host, epoch), by the run's time."""
        self.material: Material | None = None
        self.begun_s: float | None = None
        """When the run's time was 0, by the monotonic clock."""
        self._now_s = 1_000.0
        self._unix_s = UNIX_S - self._now_s
        self._events: list[tuple[float, Callable[[], None]]] = []

    @property
    def run_s(self) -> float:
        """The run's time; before every time of it until hosts were told when that is 0."""
        return -math.inf if self.begun_s is None else self._now_s - self.begun_s

    def unix_s(self) -> float:
        return self._now_s + self._unix_s

    def monotonic_s(self) -> float:
        return self._now_s

    def cpus_count(self) -> int:
        return self.script.cpus

    def here(self) -> str:
        return NODE

    def start_fronts(self, shares: Sequence[FleetConfig]) -> tuple[str, ...]:
        raise AssertionError("the script's target has a URL")

    def start_coordinator(self, plan: CoordinatorPlan) -> ScriptedCoordinator:
        return ScriptedCoordinator(self)

    def ship(self, material: Material) -> None:
        self.material = material

    def start_host(self, plan: HostPlan, *, cpus: float, spreads: bool) -> ScriptedHost:
        assert self.material is not None, "a host needs the workload's material"
        self.plans.append(plan)
        self.log.append(("start", plan.host, plan.epoch, cpus, spreads))
        self.started_s[plan.host, plan.epoch] = self.run_s
        host = ScriptedHost(self, plan)
        self.hosts.append(host)
        return host

    def wait(self, calls: Sequence[Call], within_s: float) -> dict[Call, Outcome]:
        until_s = self._now_s + within_s
        ends = [call.end()[0] for call in calls]  # type: ignore[attr-defined]
        self._pass(min(until_s, max(ends, default=until_s)))
        ended = {call: call.end() for call in calls}  # type: ignore[attr-defined]
        return {call: outcome for call, (at_s, outcome) in ended.items() if at_s <= self._now_s}

    def close(self) -> None:
        raise AssertionError("the driver does not close what it did not make")

    def when(self, run_s: float, act: Callable[[], None]) -> None:
        """Let something happen at a time of the run."""
        self._events.append((run_s, act))
        self._events.sort(key=lambda event: event[0])

    def at(self, run_s: float) -> float:
        """Return the monotonic clock at a time of the run."""
        return math.inf if self.begun_s is None else self.begun_s + run_s

    def _pass(self, until_s: float) -> None:
        """Let time pass, and what happens meanwhile happen."""
        while self._events and self.at(self._events[0][0]) <= until_s:
            at_s, act = self._events.pop(0)
            self._now_s = max(self._now_s, self.at(at_s))
            act()
        self._now_s = max(self._now_s, until_s)


class ScriptedHost:
    """One epoch of a host."""

    def __init__(self, launcher: ScriptedLauncher, plan: HostPlan) -> None:
        self.plan = plan
        self.start_unix_s: float | None = None
        self.orders: list[Order] = []
        self.life = launcher.script.lives.get((plan.host, plan.epoch), Life())
        self._launcher = launcher
        self._ready_s = launcher.monotonic_s() + self.life.ready_after_s
        self._stopped_s = math.inf
        self._killed_s = math.inf

    def clock(self) -> Call:
        asked_s = self._launcher.monotonic_s()
        if self.life.unstartable is not None:
            return self._call(lambda: (asked_s, Lost(self.life.unstartable or "")))
        at_s = max(asked_s, self._ready_s)
        told_s = self._launcher.unix_s() + (at_s - asked_s) + self.life.clock_offset_s
        return self._call(lambda: (at_s, Returned(told_s)))

    def room(self) -> Call:
        room = self._launcher.script.room
        return self._call(lambda: (self._launcher.monotonic_s(), Returned(room)))

    def run(self, start_unix_s: float) -> Call:
        launcher = self._launcher
        launcher.log.append(("run", self.plan.host, self.plan.epoch))
        self.start_unix_s = start_unix_s
        if launcher.begun_s is None:
            skipped_s = start_unix_s - launcher.unix_s()
            launcher.begun_s = launcher.monotonic_s() + skipped_s
        return self._call(self._end)

    def direct(self, order: Order) -> None:
        self.orders.append(order)

    def stop(self) -> None:
        self._launcher.log.append(("stop", self.plan.host, self.plan.epoch))
        self._stopped_s = min(self._stopped_s, self._launcher.monotonic_s())

    def kill(self) -> None:
        self._launcher.log.append(("kill", self.plan.host, self.plan.epoch))
        self._killed_s = self._launcher.monotonic_s()

    def fetch_journal(self, into: Path) -> str | None:
        self._launcher.log.append(("fetch", self.plan.host, self.plan.epoch))
        return self.life.journal_fault

    def heard(self) -> int:
        """Return the sequence of its last batch; -1 where it has made none."""
        if self.start_unix_s is None:
            return -1
        until_s = min(
            self._launcher.monotonic_s(), self._end()[0], self._launcher.at(self.life.silent_from_s)
        )
        begun_s = max(self._ready_s, self._launcher.at(0.0))
        return math.floor((until_s - begun_s) / self.plan.experiment.hosts.report_every_s) - 1

    def _end(self) -> tuple[float, Outcome]:
        """Return when it ends, and how."""
        launcher, life = self._launcher, self.life
        duration_s = launcher.experiment.load.duration_s
        limit_s = math.inf if duration_s is None else launcher.at(duration_s)
        ends: list[tuple[float, Outcome]] = [
            (launcher.at(life.dies_s), Lost("its process died")),
            (self._killed_s, Lost("it was killed")),
        ]
        if not life.hangs:
            ends.append((launcher.at(life.fails_s), Failed("ValueError: a defect")))
            ends.append((min(limit_s, self._stopped_s) + DRAIN_S, Returned(None)))
        at_s, outcome = min(ends, key=lambda end: end[0])
        return max(at_s, self._ready_s), outcome

    @staticmethod
    def _call(end: Callable[[], tuple[float, Outcome]]) -> Call:
        return ScriptedCall(end)


class ScriptedCoordinator:
    """Hears every host, unless it is away or its disk is full."""

    def __init__(self, launcher: ScriptedLauncher) -> None:
        self._launcher = launcher
        self._heard: dict[int, tuple[int, int]] = {}

    def snapshot(self) -> Call:
        return self._answer(self._snapshot())

    def unstored(self) -> Call:
        return self._answer(())

    def retire(self, host: int, epoch: int) -> Call:
        self._launcher.log.append(("retire", host, epoch))
        return self._answer(0)

    def _answer(self, value: Any) -> Call:
        launcher = self._launcher
        asked_s = launcher.monotonic_s()
        from_s, to_s = launcher.script.away
        at_s = math.inf if from_s <= launcher.run_s < to_s else asked_s
        return ScriptedCall(lambda: (at_s, Returned(value)))

    def _snapshot(self) -> Snapshot:
        launcher = self._launcher
        from_s, to_s = launcher.script.refuses
        is_full = from_s <= launcher.run_s < to_s
        if not is_full:
            for host in launcher.hosts:
                if (sequence := host.heard()) >= 0:
                    self._heard[host.plan.host] = (host.plan.epoch, sequence)
        return Snapshot(
            hosts=len(self._heard),
            live_orchestrators=0,
            live_subagents=0,
            open_requests=0,
            sessions_started=0,
            sessions_finished=0,
            sent=0,
            batches=0,
            batches_doubled=0,
            windows=Windows(window_s=1.0, origin_s=0.0).to_bytes(),
            heard=dict(self._heard),
            refusal="disk: full" if is_full else None,
            program_failed=launcher.run_s >= launcher.script.program_fails_s,
            failures={},
            good=0,
        )


class Seen:
    """What the driver lets a person see."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shown = 0

    def show(self, snapshot: Snapshot) -> None:
        self.shown += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Play:
    """A scripted run that can be driven once."""

    experiment: Experiment
    script: Script
    journals: Path
    recovered: Recovered | None = None
    stop_drain_s: float | None = None

    def __post_init__(self) -> None:
        self.launcher = ScriptedLauncher(self.experiment, self.script)
        self.interrupts = Interrupts()
        self.seen = Seen()
        self.began_s: list[float] = []
        """When the run was said to begin, by the monotonic clock."""

    def drive(self) -> RunEnd:
        driver = driver_of(
            self.experiment,
            (),
            self.journals,
            self.launcher,
            clock=self.launcher,
            counters=lambda: None,
            ask_busy=lambda at_s: None,
            progress=self.seen,
            recovered=self.recovered,
            stop_drain_s=self.stop_drain_s,
        )
        return driver.drive(self.interrupts, lambda: self.began_s.append(self.launcher.monotonic_s()))

    def signal(self, run_s: float) -> None:
        """Let SIGTERM arrive at a time of the run."""

        def arrive() -> None:
            self.interrupts.received = signal.SIGTERM

        self.launcher.when(run_s, arrive)

    def asked(self, host: int, *kinds: str) -> list[tuple[Any, ...]]:
        """Return what the driver asked of a host and about it, as (kind, epoch), in order."""
        return [(each[0], each[2]) for each in self.launcher.log if each[1] == host and each[0] in kinds]
