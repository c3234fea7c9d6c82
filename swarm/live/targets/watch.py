"""Timeouts of many open attempts by one timer: a turn costs two dict operations and no timer of its own."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

CHECKS_PER_TIMEOUT = 10
TICK_MIN_S = 0.01
TICK_MAX_S = 1.0


class Watched(Protocol):
    """Something that can be late."""

    def check(self, now: float) -> None:
        """End it, if it is."""


class Watch:
    """Checks its members regularly, while there are any."""

    __slots__ = ("_handle", "_loop", "_members", "_tick_s")

    def __init__(self, shortest_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._tick_s = min(TICK_MAX_S, max(TICK_MIN_S, shortest_timeout_s / CHECKS_PER_TIMEOUT))
        # A dict: its order is the order of arrival, whatever the members' hashes are.
        self._members: dict[Watched, None] = {}
        self._handle: asyncio.TimerHandle | None = None

    def add(self, member: Watched) -> None:
        """Watch a member."""
        self._members[member] = None
        if self._handle is None:
            self._handle = self._loop.call_later(self._tick_s, self._tick)

    def remove(self, member: Watched) -> None:
        """Stop watching a member."""
        del self._members[member]

    def close(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        now = monotonic()
        for member in list(self._members):
            member.check(now)
        self._handle = self._loop.call_later(self._tick_s, self._tick) if self._members else None
