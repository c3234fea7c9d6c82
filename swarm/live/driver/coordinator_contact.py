"""The coordinator as the driver reaches it."""

from __future__ import annotations

from collections.abc import Callable

from swarm.errors import RunError
from swarm.live.clock import Clock
from swarm.live.coordinator import CoordinatorPlan, Snapshot
from swarm.live.driver.launcher import Launcher, Returned, answer
from swarm.records.batch import Batch

ASK_S_MAX = 5.0
READY_S_MAX = 300.0
READY_POLL_S = 1.0
UNSTORED_S_MAX = 60.0
OUT_OF_REACH_S_MAX = 60.0
"""How long a coordinator may be out of reach before the run is stopped."""


class CoordinatorContact:
    """Questions to the coordinator, each answered in bounded time or not at all."""

    def __init__(self, plan: CoordinatorPlan, launcher: Launcher, clock: Clock) -> None:
        self._launcher = launcher
        self._process = launcher.start_coordinator(plan)
        self._clock = clock
        self._reached_s: float | None = None
        """When it answered last; at first, when it was first asked."""

    def wait_until_ready(self, heed: Callable[[], None]) -> None:
        """Return when it can take reports; call `heed` until then. Raises RunError where it cannot."""
        until_s = self._clock.monotonic_s() + READY_S_MAX
        call = self._process.snapshot()
        while True:
            heed()
            outcome = self._launcher.wait([call], READY_POLL_S).get(call)
            if isinstance(outcome, Returned):
                break
            if outcome is not None:
                raise RunError(f"the coordinator could not be started: {outcome.why}")
            if self._clock.monotonic_s() > until_s:
                raise RunError(f"the coordinator was not ready within {READY_S_MAX:.0f} s")
        if outcome.value.refusal is not None:
            raise RunError(f"reports cannot be stored: {outcome.value.refusal}; nothing was sent; make room")

    def unstored(self) -> tuple[Batch, ...]:
        """Return the batches that it has taken and that its journal refuses, if it can be reached."""
        batches: tuple[Batch, ...] | None = answer(self._launcher, self._process.unstored(), UNSTORED_S_MAX)
        return batches or ()

    def snapshot(self) -> Snapshot | None:
        """Return the run's state as last reported; None where the coordinator does not answer."""
        if self._reached_s is None:
            self._reached_s = self._clock.monotonic_s()
        snapshot: Snapshot | None = answer(self._launcher, self._process.snapshot(), ASK_S_MAX)
        if snapshot is not None:
            self._reached_s = self._clock.monotonic_s()
        return snapshot

    @property
    def is_lost(self) -> bool:
        """Whether the coordinator has been out of reach for too long."""
        reached_s = self._reached_s
        return reached_s is not None and self._clock.monotonic_s() - reached_s > OUT_OF_REACH_S_MAX

    def retire(self, host: int, epoch: int) -> None:
        """Let it take no more batches of a host's epochs up to this one, if it can be reached."""
        answer(self._launcher, self._process.retire(host, epoch), ASK_S_MAX)
