"""Time in which nothing is in flight is skipped: the kernel's rule (`sim/kernel.py`) on wall time.

Nothing is in flight on this host; so the run has one host, and its agents run in it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence

from swarm.live.clock import TICK_S, RunClock
from swarm.workload.due import DueClock


class IdleSkip:
    """Moves the clocks of all agents that run by the same time, so that their order and distances stay."""

    def __init__(self, *, clock: RunClock, cap_s: float, skipped: Callable[[float, float], None]) -> None:
        self._clock = clock
        self._cap_s = cap_s
        self._skipped = skipped
        """Told when time was skipped, and how much."""
        self._busy_count = 0
        """Requests in flight, or due and waiting to be sent; and agents about to run."""
        self._idle_since_s = max(0.0, clock.now_s())
        self._running: dict[DueClock, None] = {}
        self._waiting: dict[asyncio.Future[None], DueClock] = {}
        """Agents that wait for what they do next, by what wakes them."""
        self._timer: asyncio.TimerHandle | None = None

    def enrol(self, due: DueClock) -> None:
        """An agent runs."""
        self._running[due] = None

    def leave(self, due: DueClock) -> None:
        """It no longer does."""
        self._running.pop(due, None)

    def hold(self) -> None:
        """Skip nothing until as many have let go."""
        self._busy_count += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def let_go(self) -> None:
        """Take back one hold."""
        self._busy_count -= 1
        self._set_timer()

    def answered(self) -> None:
        """A request for which there was a hold has ended: the time without any begins anew."""
        self._idle_since_s = self._clock.now_s()
        self.let_go()

    def wait(self, sleeper: asyncio.Future[None], due: DueClock) -> None:
        """An agent that runs waits until what it does next is due, or it is woken."""
        self._waiting[sleeper] = due
        self._set_timer()

    def wake(self, sleeper: asyncio.Future[None]) -> None:
        """It waits no longer."""
        del self._waiting[sleeper]

    def _set_timer(self) -> None:
        if self._busy_count or self._timer is not None or not self._waiting:
            return
        delay_s = self._idle_since_s + self._cap_s - self._clock.now_s()
        self._timer = asyncio.get_running_loop().call_later(max(delay_s, TICK_S), self._skip)

    def _skip(self) -> None:
        """Let what is due next be due now, if nothing has been in flight for as long as the cap allows."""
        self._timer = None
        now_s = self._clock.now_s()
        if self._busy_count or not self._waiting:
            return
        if now_s < self._idle_since_s + self._cap_s:
            self._set_timer()
            return
        surplus_s = min(due.due_s for due in self._waiting.values()) - now_s
        if surplus_s <= 0:
            return
        for due in self._running:
            due.advance(surplus_s)
        for sleeper in list(self._waiting):
            if not sleeper.done():
                sleeper.set_result(None)
        self._skipped(now_s, surplus_s)


class PastSkips:
    """What was skipped before an agent's host was lost, for its clock as its program is run again."""

    def __init__(self, skips: Sequence[tuple[float, float]], since_s: float) -> None:
        """Take skips in order, each when and how much; the agent runs since `since_s`."""
        self._skips = skips
        self._next = bisect_right(skips, since_s, key=lambda skip: skip[0])

    def until(self, due: DueClock, at_s: float) -> None:
        """Go on to a time at which something is known to have happened to the agent."""
        skips = self._skips
        while self._next < len(skips) and skips[self._next][0] <= at_s:
            due.advance(skips[self._next][1])
            self._next += 1

    def until_due(self, due: DueClock) -> None:
        """Go on to where what the agent does next was due: each skip brings that nearer."""
        skips = self._skips
        while self._next < len(skips) and skips[self._next][0] < due.due_s:
            due.advance(skips[self._next][1])
            self._next += 1
