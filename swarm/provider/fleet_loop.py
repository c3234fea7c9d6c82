"""The fleet on the event loop: requests in as they come, events out when they are due."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from swarm.context.tree import Node
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest, Refused, Tokens
from swarm.fleet.fleet import Fleet
from swarm.fleet.rank import Rank
from swarm.fleet.sequence import Sequence
from swarm.kvcache.loss import Gone
from swarm.provider.alarm import alarm
from swarm.provider.journal import FleetJournal
from swarm.provider.lead import LEAD_S_MAX, Lead
from swarm.provider.metrics.engine import Engine
from swarm.provider.metrics.page import Meter


class Listener(Protocol):
    """Who asked for a request. Called while the fleet tells its events: it must not ask for another one."""

    finish_reason: str

    def first(self, event: FirstToken) -> None:
        """The first token is there."""

    def tokens(self, total: int) -> None:
        """More tokens are there, `total` in all."""

    def finished(self, event: Finished) -> None:
        """All tokens are there; the last call."""

    def refused(self, event: Refused) -> None:
        """There will be none; the only call."""

    def failed(self, reason: str) -> None:
        """The fleet has broken down: there will be no more; the last call."""


class Flight:
    """A request under way."""

    __slots__ = ("at_s", "engine", "first_s", "has_begun", "listener", "request", "sequence", "token_s")

    def __init__(self, request: FleetRequest, listener: Listener, at_s: float, engine: Engine) -> None:
        self.request = request
        self.listener = listener
        self.at_s = at_s
        self.first_s = at_s
        self.token_s = at_s
        self.has_begun = False
        """Its first token was there."""
        self.engine = engine
        """Of the rank that it came in by, once the fleet has taken it."""
        self.sequence: Sequence | None = None
        """Its state in the fleet, once that has taken it."""


class FleetLoop:
    """Calls a fleet at the times that it asks for. Time 0 is the driver's birth."""

    def __init__(self, fleet: Fleet, meter: Meter, journal: FleetJournal | None) -> None:
        self._fleet = fleet
        self._meter = meter
        self._journal = journal
        self._origin_s = monotonic()
        self._flights: dict[int, Flight] = {}
        self._claims: dict[Node, list[int]] = {}
        """Where the requests under way on a node will end, in tokens."""
        self._engines: dict[Rank, Engine] = dict(zip(fleet.ranks, meter.engines, strict=True))
        self._alarm = alarm(self._ring)
        self._alarm_s: float | None = None
        self._rings_s: float | None = None
        """When the alarm is to ring: a little before; None: it was to have rung when it was set."""
        self._leads = (Lead(), Lead(), Lead())
        """Of one more token, of a last one, and of what may be a first one: each has a longer way."""
        self._lead = self._leads[0]
        self._wakes = Lead()
        """How long after a moment this process looks, at its quickest: at bytes as at an alarm."""
        self._unbegun_count = 0
        """Requests whose first token was not there yet."""
        self._told_s = 0.0
        """Up to where everybody has been told what happened."""
        self._numbers_count = 0
        self.failure: str | None = None
        """Why the fleet has broken down: it serves nothing any more."""

    @property
    def open_count(self) -> int:
        """Requests that have not ended."""
        return len(self._flights)

    def next_number(self) -> int:
        """Return a number for the next request."""
        self._numbers_count += 1
        return self._numbers_count

    def submit(self, request: FleetRequest, listener: Listener, *, came_s: float, count: int = 1) -> None:
        """Give the fleet a request; its events go to `listener`, a refusal before this returns.

        `came_s` is when it was seen, by `time.monotonic`; what has been told since then stays as it was told.
        `count` is how many replies its client wants to one prompt.
        """
        if self.failure is not None:
            listener.failed(self.failure)
            return
        at_s = max(came_s - self._wakes.seconds - self._origin_s, self._told_s)
        flight = self._flights[request.request_id] = Flight(request, listener, at_s, self._meter.engines[0])
        self._unbegun_count += 1
        node, length = request.prompt
        self._claims.setdefault(node, []).append(length + request.output_tokens)
        with self._breakdown():
            self._hear(at_s)
            if self._journal is not None:
                self._journal.submit(request, at_s)
            self._fleet.submit(request, at_s)
            sequence = self._fleet.sequence_of(request.request_id)
            if sequence is not None:
                flight.sequence = sequence
                flight.engine = self._engines[self._fleet.ranks[sequence.place]]
                flight.engine.asked(request.output_tokens, count)
            # What is due by now is told when the alarm rings, which is at once.
            self._hear(at_s)
            self._set_alarm()

    def cancel(self, request_id: int) -> None:
        """Give a request up; its listener hears no more."""
        if request_id not in self._flights:
            return
        now_s = max(self._now_s(), self._told_s)
        with self._breakdown():
            self._hear(now_s)
            flight = self._flights.get(request_id)
            if flight is not None:
                self._land(request_id)
                flight.engine.finished["abort"] += 1
                if self._journal is not None:
                    self._journal.cancel(request_id, now_s)
                self._fleet.cancel(request_id, now_s)
            self._set_alarm()

    def clear_caches(self) -> None:
        """Let every memory go of what no request is using."""
        now_s = max(self._now_s(), self._told_s)
        with self._breakdown():
            self._hear(now_s)
            if self._journal is not None:
                self._journal.clear(now_s)
            self._fleet.clear_caches(now_s)
            self._set_alarm()

    def held_tokens(self, node: Node) -> int:
        """Return up to where somebody holds a node's content: a memory, or a request under way."""
        claims = self._claims.get(node)
        held = self._fleet.held_tokens(node)
        return held if claims is None else max(held, *claims)

    def gone(self, node: Node, start: int, end: int) -> list[Gone]:
        """Return what is known of a node's blocks [start, end), which no memory holds any longer."""
        return self._fleet.gone(node, start, end, self._now_s())

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        """A node's blocks from `start` on, which are new to it, were there once under another one."""
        if self._journal is not None:
            self._journal.recall(node, start, gone)
        self._fleet.recall(node, start, gone)

    def close(self) -> None:
        """Stop the clock."""
        self._flights.clear()
        self._alarm.close()
        if self._journal is not None:
            self._journal.close()

    def _now_s(self) -> float:
        return monotonic() - self._origin_s

    def _hear(self, now_s: float) -> float | None:
        """Tell everybody what has happened up to now; tokens of one request at once.

        Return when about the first of them had been told of it; None where nothing happened.
        """
        flights = self._flights
        more: dict[int, int] = {}
        self._told_s = now_s
        events = self._fleet.advance(now_s, tokens=True)
        if not events:
            return None
        begun_s = self._now_s()
        # Within one moment no request has two of them: nothing is to be waited for.
        is_moment = events[0].at_s == events[-1].at_s
        # Tokens of one step differ in nothing that is counted.
        alike, step_s, gap_s, engine = 0, 0.0, 0.0, self._meter.engines[0]
        for event in events:
            flight = flights.get(event.request_id)
            if flight is None:
                continue
            if type(event) is Tokens:
                at_s, request_id, total = event
                if at_s - flight.token_s != gap_s or at_s != step_s or flight.engine is not engine:
                    if alike:
                        engine.gaps(step_s, gap_s, alike)
                    alike, step_s, gap_s, engine = 0, at_s, at_s - flight.token_s, flight.engine
                alike += 1
                flight.token_s = at_s
                if is_moment:
                    flight.listener.tokens(total)
                else:
                    more[request_id] = total
                continue
            if alike:
                engine.gaps(step_s, gap_s, alike)
                alike = 0
            more.pop(event.request_id, None)
            self._tell(flight, event)
        if alike:
            engine.gaps(step_s, gap_s, alike)
        for request_id, total in more.items():
            flights[request_id].listener.tokens(total)
        ended_s = self._now_s()
        self._meter.late(max(0.0, ended_s - events[0].at_s))
        return begun_s + (ended_s - begun_s) / len(events)

    def _tell(self, flight: Flight, event: Event) -> None:
        """Pass an event on that is not one more token."""
        listener, engine = flight.listener, flight.engine
        if self._journal is not None:
            self._journal.event(event)
        if isinstance(event, FirstToken):
            flight.token_s = flight.first_s = event.at_s
            flight.has_begun = True
            self._unbegun_count -= 1
            engine.first(event.cache, event.at_s, event.at_s - flight.at_s)
            listener.first(event)
            return
        self._land(event.request_id)
        if isinstance(event, Finished):
            assert flight.sequence is not None
            engine.ended(
                tokens=event.output_tokens,
                came_s=flight.at_s,
                admitted_s=flight.sequence.admitted_s,
                first_s=flight.first_s,
                ended_s=event.at_s,
            )
            engine.finished[listener.finish_reason] += 1
            listener.finished(event)
        elif isinstance(event, Refused):
            self._meter.refused["400" if event.retry_after_s is None else "429"] += 1
            listener.refused(event)

    def _land(self, request_id: int) -> None:
        flight = self._flights.pop(request_id)
        self._unbegun_count -= not flight.has_begun
        request = flight.request
        node, length = request.prompt
        claims = self._claims[node]
        claims.remove(length + request.output_tokens)
        if not claims:
            del self._claims[node]

    def _set_alarm(self) -> None:
        """Ring when the fleet's next event is due, less what telling of it will take."""
        due_s = self._fleet.next_event_s(tokens=True)
        if due_s == self._alarm_s:
            return
        self._alarm_s = self._rings_s = due_s
        if due_s is None:
            self._alarm.set(None)
            return
        is_event = due_s == self._fleet.next_event_s()
        self._lead = self._leads[0 if not is_event else 1 if not self._unbegun_count else 2]
        rings_s = due_s - self._lead.seconds
        self._rings_s = rings_s if rings_s > self._now_s() else None
        self._alarm.set(rings_s + self._origin_s)

    def _ring(self) -> None:
        due_s, rings_s = self._alarm_s, self._rings_s
        self._alarm_s = None
        if due_s is None:
            return
        with self._breakdown():
            # An event is taken up a little before it is due: nobody comes between.
            now_s = self._now_s()
            first_s = self._hear(max(now_s, min(due_s, now_s + LEAD_S_MAX)))
            if rings_s is not None:
                self._wakes.learn(now_s - rings_s)
                if first_s is not None:
                    self._lead.learn(first_s - rings_s)
            self._set_alarm()

    @contextmanager
    def _breakdown(self) -> Iterator[None]:
        """Let whatever the fleet trips over end every request, instead of leaving all of them waiting."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001 - the fleet's state is not to be trusted any more
            traceback.print_exception(fault, file=sys.stderr)
            self.failure = f"the emulated fleet has broken down: {type(fault).__name__}: {fault}"
            self._alarm.set(None)
            flights, self._flights = self._flights, {}
            self._unbegun_count = 0
            self._claims.clear()
            for flight in flights.values():
                flight.engine.finished["error"] += 1
                flight.listener.failed(self.failure)
