"""The hosts of a run: started by their plans, listened to, ended when they are lost, replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from swarm.errors import RunError
from swarm.live.clock import Clock
from swarm.live.directed_slots import Order
from swarm.live.driver.clock_offsets import clock_offsets
from swarm.live.driver.coordinator_contact import CoordinatorContact
from swarm.live.driver.launcher import Launcher
from swarm.live.driver.plans import HostPlans
from swarm.live.driver.processes import HostProcesses
from swarm.live.driver.progress import RunProgress
from swarm.live.driver.roster import Roster
from swarm.live.room import Room
from swarm.records.batch import Batch
from swarm.records.journal import read_batches


class Swarm:
    """Every host of a run, with what is known of it."""

    def __init__(
        self,
        plans: HostPlans,
        launcher: Launcher,
        *,
        clock: Clock,
        coordinator: CoordinatorContact,
        epoch: int,
        journals: Path,
        progress: RunProgress,
    ) -> None:
        """`epoch` is the first one of this run's hosts."""
        config = plans.experiment.hosts
        self.plans = plans
        self._launcher = launcher
        self.processes = HostProcesses(config, launcher)
        self._roster = Roster(silent_max_s=config.silent_max_s, epoch=epoch)
        self._clock = clock
        self._coordinator = coordinator
        self._journals = journals
        self._progress = progress

    @property
    def running(self) -> tuple[int, ...]:
        """The hosts that have not ended."""
        return self._roster.running

    def epoch(self, host: int) -> int:
        """Return the epoch of a host's newest process."""
        return self._roster.epoch(host)

    def start(self, host: int) -> None:
        """Start a host whose sessions nobody has played."""
        epoch = self._roster.start(host, self._clock.monotonic_s())
        self.processes.start(self.plans.first(host, epoch))

    def resume(self, host: int, batches: Sequence[Batch]) -> None:
        """Start a host that goes on with its sessions from what an interrupted run's batches tell."""
        epoch = self._roster.start(host, self._clock.monotonic_s())
        self.processes.start(self.plans.resumed(host, epoch, batches))

    def replace(self, host: int, why: str) -> str | None:
        """Start a host that goes on with a lost one's sessions; return what befell it where none can."""
        if not self._roster.may_replace(host):
            return f"was lost again and again, the last time: {why}"
        epoch = self._roster.start(host, self._clock.monotonic_s())
        batches = read_batches(sorted(self._journals.glob("*.journal")))
        try:
            self.processes.start(self.plans.replacement(host, epoch, batches))
        except RunError as fault:
            self._roster.end(host)
            return f"was lost ({why}), and no other goes on with its sessions: {fault}"
        return None

    def wait_until_ready(self, heed: Callable[[], None]) -> None:
        """Return when all hosts that were started are ready; call `heed` until then. Raises RunError."""
        self.processes.wait_until_ready(self._clock, heed, self._progress.note)

    def rooms(self) -> dict[int, Room]:
        """Return what each host that is ready finds on its node."""
        return self.processes.rooms()

    def clock_offsets(self) -> dict[int, float]:
        """Return each host's wall clock less the driver's in seconds."""
        return clock_offsets(self.processes.by_host, self._launcher, self._clock)

    def begin_all(self, start_unix_s: float) -> None:
        """Let the hosts that were started play; the run's time is 0 at `start_unix_s`."""
        for host in self.processes.by_host:
            self.processes.begin(host, start_unix_s)

    def begin(self, host: int, start_unix_s: float, order: Order | None) -> None:
        """Let one host play, by an order where a search directs the hosts."""
        self.processes.begin(host, start_unix_s)
        if order is not None:
            self.processes.by_host[host].direct(order)

    def hear(self, heard: dict[int, tuple[int, int]]) -> None:
        """Note the last batch of each host, as (epoch, sequence)."""
        self._roster.hear(heard, self._clock.monotonic_s())

    def excuse(self) -> None:
        """Count every host as heard now: it was the coordinator that did not listen."""
        self._roster.excuse(self._clock.monotonic_s())

    def silent(self) -> tuple[int, ...]:
        """Return the hosts that have not been heard for too long."""
        return self._roster.silent(self._clock.monotonic_s())

    def note_end(self, host: int) -> None:
        """Note that a host has ended by itself."""
        self._roster.end(host)

    def end(self, host: int, why: str) -> None:
        """End a lost host for certain, and fetch its journal: nothing of it comes later."""
        self._roster.end(host)
        self.processes.forget(host)
        self._progress.note(f"host {host} is lost: {why}")
        self._coordinator.retire(host, self._roster.epoch(host))
        fault = self.processes.kill(host, self._journals)
        if fault is not None:
            self._progress.note(f"host {host}: its journal is not to be had: {fault}")
