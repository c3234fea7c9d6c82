"""The run's clock on one host, and the machine's clocks under it."""

import asyncio
import time
from typing import Protocol

TICK_S = 0.001
"""No timer is asked for less: uvloop's end up to so much early, and what is left would be no wait for it."""


class RunClock:
    """Wall time counted from the run's start, carried by the monotonic clock from then on."""

    __slots__ = ("origin_s",)

    def __init__(self, start_unix_s: float) -> None:
        self.origin_s = time.monotonic() + (start_unix_s - time.time())

    def now_s(self) -> float:
        """Return seconds since the run's start; negative before it."""
        return time.monotonic() - self.origin_s

    def of_monotonic(self, monotonic_s: float) -> float:
        """Return the run's time of a `time.monotonic()` stamp."""
        return monotonic_s - self.origin_s


class Clock(Protocol):
    """Two clocks of one machine."""

    def unix_s(self) -> float:
        """Return the wall clock, which all machines of a run share about."""

    def monotonic_s(self) -> float:
        """Return a clock that is never set."""


class SystemClock:
    """The clocks of this machine."""

    def unix_s(self) -> float:
        """Return `time.time()`."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()


async def sleep_until(monotonic_s: float) -> None:
    """Return when `time.monotonic()` has come to a time, and not before it."""
    while (left_s := monotonic_s - time.monotonic()) > 0:
        await asyncio.sleep(max(left_s, TICK_S))
