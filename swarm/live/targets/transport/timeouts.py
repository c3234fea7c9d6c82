"""Timeouts of many open attempts by one timer: a turn costs two dict operations and no timer of its own."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

CHECKS_PER_TIMEOUT = 10
TICK_MIN_S = 0.01
TICK_MAX_S = 1.0
SOON_S = 0.05
"""Between the checks of members that are to be looked at soon."""


class Watched(Protocol):
    """Something that can be late."""

    def check(self, now: float) -> None:
        """End it, if it is."""


class Watch:
    """Checks its members regularly, while there are any."""

    __slots__ = ("_handle", "_loop", "_members", "_soon", "_soon_handle", "_tick_s")

    def __init__(self, shortest_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._tick_s = min(TICK_MAX_S, max(TICK_MIN_S, shortest_timeout_s / CHECKS_PER_TIMEOUT))
        # A dict: its order is the order of arrival, whatever the members' hashes are.
        self._members: dict[Watched, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._soon: dict[Watched, None] = {}
        self._soon_handle: asyncio.TimerHandle | None = None

    def add(self, member: Watched) -> None:
        """Watch a member."""
        self._members[member] = None
        if self._handle is None:
            self._handle = self._loop.call_later(self._tick_s, self._tick)

    def soon(self, member: Watched) -> None:
        """Check a member every SOON_S from now on."""
        self._soon[member] = None
        if self._soon_handle is None:
            self._soon_handle = self._loop.call_later(SOON_S, self._soon_tick)

    def remove(self, member: Watched) -> None:
        """Stop watching a member."""
        del self._members[member]
        if self._soon:
            self._soon.pop(member, None)

    def close(self) -> None:
        """Stop the timers."""
        for handle in (self._handle, self._soon_handle):
            if handle is not None:
                handle.cancel()
        self._handle = self._soon_handle = None

    def _tick(self) -> None:
        try:
            _check(list(self._members))
        finally:
            self._handle = self._loop.call_later(self._tick_s, self._tick) if self._members else None

    def _soon_tick(self) -> None:
        try:
            _check(list(self._soon))
        finally:
            self._soon_handle = self._loop.call_later(SOON_S, self._soon_tick) if self._soon else None


def _check(members: list[Watched]) -> None:
    """Check every member, also where one of them fails; raises what the last of those raised."""
    now = monotonic()
    found: Exception | None = None
    for member in members:
        try:
            member.check(now)
        except Exception as fault:  # noqa: BLE001 - raised once all others are checked
            found = fault
    if found is not None:
        raise found
