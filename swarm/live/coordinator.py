"""The coordinator: takes every host's batches once, keeps them on disk, adds up what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.measure.batch import Batch, Gauges
from swarm.measure.rows import Journal
from swarm.measure.settle import windows_of

WINDOWS_SHOWN = 15
HOSTS_ASIDE = 1_000_000
"""Numbers from here on are for actors that a host starts for its sub-agents."""


@dataclass(frozen=True, slots=True)
class CoordinatorPlan:
    """What the coordinator is told at its birth."""

    experiment: Experiment
    journal: str
    """Folder of the run's journals."""


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


class Coordinator:
    """Adds up; its work grows with hosts and windows, not with requests."""

    def __init__(self, plan: CoordinatorPlan) -> None:
        self._journal = Journal(Path(plan.journal) / "coordinator.journal")
        self._windows = windows_of(plan.experiment)
        self._seen: dict[tuple[int, int], int] = {}
        self._gauges: dict[tuple[int, int], Gauges] = {}
        self._live = {True: 0, False: 0}
        self._batches_count = 0
        self._doubled_count = 0
        self._hosts_aside = 0

    def new_host(self) -> int:
        """Return a number that no host of the run has."""
        self._hosts_aside += 1
        return HOSTS_ASIDE + self._hosts_aside

    def receive(self, batch: Batch) -> int:
        """Take a batch, unless it was taken before; return the last sequence taken.

        Batches of one host and epoch arrive in order: a sequence at or below the last one is a repeat.
        """
        name = (batch.host, batch.epoch)
        if batch.sequence <= self._seen.get(name, -1):
            self._doubled_count += 1
            return self._seen[name]
        self._journal.append(batch.frame())
        self._seen[name] = batch.sequence
        self._gauges[name] = batch.gauges
        for step in batch.agents:
            self._live[step.is_orchestrator] += step.change
        self._windows.merge_bytes(batch.windows)
        self._batches_count += 1
        return batch.sequence

    def snapshot(self) -> Snapshot:
        """Return the run's state as last reported."""
        gauges = self._gauges.values()
        return Snapshot(
            hosts=len(gauges),
            live_orchestrators=self._live[True],
            live_subagents=self._live[False],
            open_requests=sum(each.open_requests for each in gauges),
            sessions_started=sum(each.sessions_started for each in gauges),
            sessions_finished=sum(each.sessions_finished for each in gauges),
            sent=sum(each.sent for each in gauges),
            batches=self._batches_count,
            batches_doubled=self._doubled_count,
            windows=self._windows.last(WINDOWS_SHOWN).to_bytes(),
        )
