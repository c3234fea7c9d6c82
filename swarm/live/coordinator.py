"""The coordinator: takes every host's batches once, keeps them on disk, adds up what they say."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.live.report_outbox import RETIRED
from swarm.measure.window import Windows, windows_of
from swarm.records.batch import Batch, Gauges
from swarm.records.journal import Journal, read_batches, read_journal
from swarm.records.rows import warm_up
from swarm.records.takeover import Takeover, heard_until, is_lost, split, takeover_of

if TYPE_CHECKING:
    from swarm.config.experiment import Experiment

JOURNALS = "coordinator-*.journal"
WINDOWS_SHOWN = 15
WINDOWS_KEPT_MAX = 120
"""Windows held before the old ones are dropped: they are for the eye, the run folder is made from rows."""
KEPT_BYTES_MAX = 1 << 28
"""Of batches that the journal refuses, in memory until it takes them or the driver does."""
UNMERGED_MAX = 512
"""Batches whose windows wait to be added up; a snapshot, twice a second, adds them as well."""
HOSTS_ASIDE = 1_000_000
"""Numbers from here on are for actors that a host starts for its sub-agents."""


@dataclass(frozen=True, slots=True)
class CoordinatorPlan:
    """What the coordinator is told at its birth."""

    window_s: float
    origin_s: float
    """Of its windows. The experiment, whose models take a tenth of a second to import, it does not need."""
    journal: str
    """Folder of the run's journals."""
    epoch: int
    """How often the run has been gone on with: an earlier coordinator may still be at its end."""

    @classmethod
    def of(cls, experiment: Experiment, journal: str, *, epoch: int) -> CoordinatorPlan:
        """Return the plan of an experiment's coordinator."""
        windows = windows_of(experiment)
        return cls(windows.window_s, windows.origin_s, journal, epoch)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run as last reported, for a terminal."""

    hosts: int
    live_orchestrators: int
    live_subagents: int
    open_requests: int
    sessions_started: int
    sessions_finished: int
    sent: int
    batches: int
    batches_doubled: int
    windows: bytes
    """The last `WINDOWS_SHOWN` windows."""
    heard: dict[int, tuple[int, int]]
    """The last batch of each host that the driver has started, as (epoch, sequence)."""
    refusal: str | None
    """Why a batch could not be stored, on this disk or on a host's; None where all were."""
    program_failed: bool
    """A program has broken a rule on some host."""
    failures: dict[str, int]
    """Failed requests by class."""
    good: int
    """Requests that finished within every objective; 0 without any."""
    ended: int = 0
    failed: int = 0
    """Of those that ended."""
    is_spent: bool = False
    """Some host's share of the budget is gone."""


class Coordinator:
    """Adds up; its work grows with hosts and windows, not with requests.

    One that died is made again from its journal: what it acknowledged is there; hosts send the rest again.
    Where the journal refuses writes the load is over: what still comes is kept in memory for the driver.
    """

    def __init__(self, plan: CoordinatorPlan) -> None:
        warm_up()
        self._windows = Windows(window_s=plan.window_s, origin_s=plan.origin_s)
        self._unmerged: list[bytes] = []
        """Windows of batches that were taken and not added up: together they cost a fraction."""
        self._seen: dict[tuple[int, int], int] = {}
        self._retired: dict[int, int] = {}
        """By host: the epochs up to here are over."""
        self._gauges: dict[tuple[int, int], Gauges] = {}
        self._live = {True: 0, False: 0}
        self._batches_count = 0
        self._doubled_count = 0
        self._hosts_aside = 0
        self._refusal: str | None = None
        self._program_failed = False
        self._failures: dict[str, int] = {}
        self._good_count = 0
        self._folder = Path(plan.journal)
        for path in sorted(self._folder.glob(JOURNALS)):
            for frame in read_journal(path):
                self._restore(Batch.of_frame(frame))
        self._unstored: deque[Batch] = deque()
        self._unstored_bytes = 0
        self._path = self._folder / f"coordinator-{plan.epoch}.journal"
        self._journal = self._open()

    def new_host(self) -> int:
        """Return a number that no host of the run has."""
        self._hosts_aside += 1
        return HOSTS_ASIDE + self._hosts_aside

    def retire(self, host: int, epoch: int) -> int:
        """Take no more batches of a host's epochs up to this one; return the last sequence taken of it."""
        self._retired[host] = max(epoch, self._retired.get(host, -1))
        return self._seen.get((host, epoch), -1)

    def takeover(self, session: str, host: int) -> Takeover:
        """Return what has been reported of a session, of which this host was lost."""
        batches = read_batches(sorted(self._folder.glob(JOURNALS)))
        return takeover_of(
            batches,
            lambda name: name == session,
            heard_until_s=heard_until(batches, host),
            is_lost=is_lost(batches, host),
        )

    def receive(self, batch: Batch) -> int:
        """Take a batch, unless it was taken before; return the last sequence taken.

        Batches of one host and epoch arrive in order: a sequence at or below the last one is a repeat.
        A batch that the journal refuses is kept until it takes it; past KEPT_BYTES_MAX it is not taken, and
        the host will send it again.
        """
        name = (batch.host, batch.epoch)
        if batch.epoch <= self._retired.get(batch.host, -1):
            return RETIRED
        last = self._seen.get(name, -1)
        if batch.sequence <= last:
            self._doubled_count += 1
            return last
        if self._unstored_bytes + len(batch.rows) > KEPT_BYTES_MAX:
            return last
        self._unstored.append(batch)
        self._unstored_bytes += len(batch.rows)
        self._store()
        self._refusal = self._refusal or batch.refusal or None
        self._unmerged.append(batch.windows)
        if len(self._unmerged) >= UNMERGED_MAX:
            self._merge()
        self._add(batch)
        return batch.sequence

    def unstored(self) -> tuple[Batch, ...]:
        """Return the batches that were taken and that the journal refuses."""
        self._store()
        return tuple(self._unstored)

    def snapshot(self) -> Snapshot:
        """Return the run's state as last reported."""
        self._merge()
        gauges = self._gauges.values()
        return Snapshot(
            hosts=len({host for host, _ in self._gauges}),
            live_orchestrators=self._live[True],
            live_subagents=self._live[False],
            open_requests=sum(
                each.open_requests
                for (host, epoch), each in self._gauges.items()
                if epoch > self._retired.get(host, -1)
            ),
            sessions_started=sum(each.sessions_started for each in gauges),
            sessions_finished=sum(each.sessions_finished for each in gauges),
            sent=sum(each.sent for each in gauges),
            batches=self._batches_count,
            batches_doubled=self._doubled_count,
            windows=self._windows.last(WINDOWS_SHOWN).to_bytes(),
            heard={
                host: (epoch, sequence)
                for (host, epoch), sequence in sorted(self._seen.items())
                if host < HOSTS_ASIDE
            },
            refusal=self._refusal,
            program_failed=self._program_failed,
            failures=dict(self._failures),
            good=self._good_count,
            ended=sum(each.ended for each in gauges),
            failed=sum(each.failed for each in gauges),
            is_spent=any(each.is_spent for each in gauges),
        )

    def _open(self) -> Journal | None:
        try:
            return Journal(self._path)
        except OSError as fault:
            self._refusal = f"{self._path} refuses writes: {fault.strerror}"
            return None

    def _store(self) -> None:
        """Write what is kept to the journal, in order, as far as it takes it."""
        while self._unstored and self._journal is not None:
            try:
                self._journal.append(self._unstored[0].frame())
            except OSError as fault:
                self._refusal = self._refusal or f"{self._path} refuses writes: {fault.strerror}"
                return
            self._unstored_bytes -= len(self._unstored.popleft().rows)

    def _merge(self) -> None:
        """Add up the windows of the batches taken since the last time."""
        self._windows.merge_together(self._unmerged)
        self._unmerged = []
        if len(self._windows.cells) > WINDOWS_KEPT_MAX:
            self._windows.forget(2 * WINDOWS_SHOWN)

    def _add(self, batch: Batch) -> None:
        self._seen[batch.host, batch.epoch] = batch.sequence
        self._gauges[batch.host, batch.epoch] = batch.gauges
        for step in batch.agents:
            self._live[step.is_orchestrator] += step.change
        self._batches_count += 1
        self._program_failed |= batch.program_failed
        self._good_count += batch.good
        for kind, count in batch.failures:
            self._failures[kind] = self._failures.get(kind, 0) + count

    def _restore(self, batch: Batch) -> None:
        self._windows.add(split(batch)[0])
        self._add(batch)
        for epoch, _ in enumerate(batch.follows):
            self._retired[batch.host] = max(epoch, self._retired.get(batch.host, -1))
        if batch.host > HOSTS_ASIDE:
            self._hosts_aside = max(self._hosts_aside, batch.host - HOSTS_ASIDE)
