"""What the driver asks of the launcher of its processes. `swarm run` uses Ray's; tests have their own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from swarm.config.fleet import FleetConfig
from swarm.live.coordinator import CoordinatorPlan
from swarm.live.directed_slots import Order
from swarm.live.host_plan import HostPlan
from swarm.workload.source import Material

Call = Hashable
"""A call to a process that has not been waited for."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A call that came back."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A call whose own code raised, or that could not be made."""

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A call whose process is gone."""

    why: str


Outcome = Returned | Failed | Lost


class HostProcess(Protocol):
    """A `Host` in a process of its own, ready or not."""

    def clock(self) -> Call:
        """Ask for the wall clock of its machine in Unix seconds; answered once the host is ready."""

    def room(self) -> Call:
        """Ask for the `Room` that it has on its node."""

    def run(self, start_unix_s: float) -> Call:
        """Let it play its share of the sessions; at its end it returns the batches that nobody has stored."""

    def direct(self, order: Order) -> None:
        """Let it open and close the slots of a search."""

    def stop(self) -> None:
        """Let it start no more turns; said a second time, let it wait for none that is in flight."""

    def kill(self) -> None:
        """End the process."""

    def fetch_journal(self, into: Path) -> str | None:
        """Put its journal into a folder, once its process is gone for certain; return why that failed."""


class CoordinatorProcess(Protocol):
    """A `Coordinator` in a process of its own, which is started again a few times when it is lost."""

    def snapshot(self) -> Call:
        """Ask for the run's state as last reported."""

    def unstored(self) -> Call:
        """Ask for the batches that it has taken and that its journal refuses."""

    def retire(self, host: int, epoch: int) -> Call:
        """Let it take no more batches of a host's epochs up to this one."""


class Launcher(Protocol):
    """Starts the processes of one run, and waits for their calls. It decides nothing."""

    def cpus_count(self) -> int:
        """Return how many CPUs the processes may use."""

    def here(self) -> str:
        """Return the name of the driver's node, as its hosts call it."""

    def start_fronts(self, shares: Sequence[FleetConfig]) -> tuple[str, ...]:
        """Serve each share of the emulated fleet; return the URLs. Raises RunError."""

    def start_coordinator(self, plan: CoordinatorPlan) -> CoordinatorProcess:
        """Start the coordinator."""

    def ship(self, material: Material) -> None:
        """Make the workload's material available to the hosts that are started later."""

    def start_host(self, plan: HostPlan, *, cpus: float, spreads: bool) -> HostProcess:
        """Start a host that reserves CPUs; one that `spreads` gives each sub-agent a process of its own."""

    def wait(self, calls: Sequence[Call], within_s: float) -> dict[Call, Outcome]:
        """Wait for all calls, at most `within_s` seconds; return the outcomes of those that ended.

        Without calls it waits for all of that time.
        """

    def close(self) -> None:
        """End what does not end with the driver."""


def answer(launcher: Launcher, call: Call, within_s: float) -> Any:
    """Return what a call returns; None where it fails, or does not come back in time."""
    outcome = launcher.wait([call], within_s).get(call)
    return outcome.value if isinstance(outcome, Returned) else None
