"""An alarm that rings within tens of microseconds, where the event loop's own timers round to 1 ms."""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
from collections.abc import Callable
from time import monotonic
from typing import Protocol


class Alarm(Protocol):
    """Calls back once, at the time last set."""

    def set(self, at_s: float | None) -> None:
        """Ring at `at_s` of `time.monotonic`, at once if that has passed; None: do not ring."""

    def close(self) -> None:
        """Give the system's resources back."""


class LoopAlarm:
    """By the event loop's own timers."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at_s: float | None) -> None:
        """Ring at `at_s`."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if at_s is not None:
            self._timer = self._loop.call_later(max(0.0, at_s - monotonic()), self._ring)

    def close(self) -> None:
        """Stop the timer."""
        self.set(None)


class _Span(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Span), ("value", _Span))


CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC if hasattr(os, "O_CLOEXEC") else 0
NANOS = 1_000_000_000


class TimerFdAlarm:
    """By a `timerfd` of Linux, which is a descriptor to wait for like any other."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._setting = _Setting()
        self._pointer = ctypes.byref(self._setting)
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)

    def set(self, at_s: float | None) -> None:
        """Ring at `at_s`."""
        value = self._setting.value
        # A setting of zero would disarm.
        nanos = 0 if at_s is None else max(1, int(at_s * NANOS))
        value.seconds, value.nanoseconds = divmod(nanos, NANOS)
        self._libc.timerfd_settime(self._fd, TFD_TIMER_ABSTIME, self._pointer, None)

    def close(self) -> None:
        """Close the descriptor."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            # It was set anew between the wake-up and now.
            return
        self._ring()


def alarm(ring: Callable[[], None]) -> Alarm:
    """Return the most exact alarm that this system has."""
    return TimerFdAlarm(ring) if platform.system() == "Linux" else LoopAlarm(ring)
