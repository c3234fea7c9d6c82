"""The run's clock on one host: seconds since the run's start."""

import asyncio
import time


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

    async def sleep_until(self, at_s: float) -> None:
        """Return at `at_s`, or at once if that has passed."""
        delay_s = at_s - self.now_s()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
