"""Hosts that a ramp needs later than the run's start."""

from __future__ import annotations

from collections import deque


class LateHosts:
    """A queue of hosts by when each is to be started."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, int]] = deque()

    def __bool__(self) -> bool:
        """Whether a host is still to be started."""
        return bool(self._waiting)

    def put(self, host: int, at_s: float) -> None:
        """Add a host that is to be started at `at_s`, and after those before it."""
        self._waiting.append((at_s, host))

    def due(self, now_s: float) -> list[int]:
        """Remove the hosts whose time has come, and return them."""
        hosts = []
        while self._waiting and self._waiting[0][0] <= now_s:
            hosts.append(self._waiting.popleft()[1])
        return hosts

    def clear(self) -> None:
        """Start none of them."""
        self._waiting.clear()
