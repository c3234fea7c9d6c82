"""The fleet on the event loop: requests in as they come, events out when they are due."""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Protocol

from swarm.fleet.events import Finished, FirstToken, FleetRequest, Refused, Tokens
from swarm.fleet.fleet import Fleet

SWEEP_BLOCKS_LEAST = 1 << 16


class Listener(Protocol):
    """Who asked for a request."""

    def first(self, event: FirstToken) -> None:
        """The first token is there."""

    def tokens(self, total: int) -> None:
        """More tokens are there, `total` in all."""

    def finished(self, event: Finished) -> None:
        """All tokens are there; the last call."""

    def refused(self, event: Refused) -> None:
        """There will be none; the only call."""


class Driver:
    """Calls a fleet at the times that it asks for. Time 0 is the driver's birth."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._loop = asyncio.get_running_loop()
        self._origin_s = monotonic()
        self._listeners: dict[int, Listener] = {}
        self._prompts: dict[int, FleetRequest] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        self._numbers_count = 0

    @property
    def open_count(self) -> int:
        """Requests that have not ended."""
        return len(self._listeners)

    def next_number(self) -> int:
        """Return a number for the next request."""
        self._numbers_count += 1
        return self._numbers_count

    def submit(self, request: FleetRequest, listener: Listener) -> None:
        """Give the fleet a request; its events go to `listener`, a refusal before this returns."""
        now_s = self._now_s()
        self._hear(now_s)
        self._listeners[request.request_id] = listener
        self._prompts[request.request_id] = request
        self._fleet.submit(request, now_s)
        self._hear(now_s)
        self._wake_up()

    def cancel(self, request_id: int) -> None:
        """Give a request up; its listener hears no more."""
        if request_id not in self._listeners:
            return
        self._end(request_id)
        now_s = self._now_s()
        self._hear(now_s)
        self._fleet.cancel(request_id, now_s)
        self._wake_up()

    def close(self) -> None:
        """Stop the clock."""
        self._listeners.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _now_s(self) -> float:
        return monotonic() - self._origin_s

    def _hear(self, now_s: float) -> None:
        """Tell everybody what has happened up to now; tokens of one request at once."""
        listeners = self._listeners
        more: dict[int, int] = {}
        for event in self._fleet.advance(now_s, tokens=True):
            listener = listeners.get(event.request_id)
            if listener is None:
                continue
            if isinstance(event, Tokens):
                more[event.request_id] = event.total
            elif isinstance(event, FirstToken):
                listener.first(event)
            elif isinstance(event, Finished):
                more.pop(event.request_id, None)
                self._end(event.request_id)
                listener.finished(event)
            else:
                self._end(event.request_id)
                listener.refused(event)
        for request_id, total in more.items():
            listeners[request_id].tokens(total)

    def _end(self, request_id: int) -> None:
        del self._listeners[request_id]
        del self._prompts[request_id]

    def _wake_up(self) -> None:
        """Let the timer ring when the fleet's next event is due."""
        due_s = self._fleet.next_event_s(tokens=True)
        due_s = math.inf if due_s is None else due_s
        if due_s == self._timer_s:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_s = due_s
        if due_s < math.inf:
            self._timer = self._loop.call_later(max(0.0, due_s - self._now_s()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_s = math.inf
        self._hear(self._now_s())
        self._wake_up()
