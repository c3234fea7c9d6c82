"""One client's request between the fleet and its connection: one reply, or several that end together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isfinite
from typing import Protocol

from swarm.fleet.events import Finished, FirstToken, Refused
from swarm.provider.apis.api import Api, Story, Stream
from swarm.provider.apis.events import END
from swarm.provider.refusal import Fault

HEAD_AFTER_S = 0.005
"""A stream's head is sent so long after its request came, if no token was there to go along."""


class Line(Protocol):
    """The client's end of it."""

    def write(self, data: bytes) -> None:
        """Send bytes of an answer."""

    def begin_stream(self) -> bytes:
        """Return the head of an answer that comes event by event."""

    def answer(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Send a whole answer; the request is done with."""

    def done(self) -> None:
        """The answer's last byte was written."""

    @property
    def request_number(self) -> bytes:
        """What the answer says that the request is known by."""


class Exchange:
    """Writes an answer as its replies come; nothing is sent before all of them are on their way."""

    __slots__ = (
        "_api",
        "_early",
        "_held",
        "_is_over",
        "_line",
        "_on_end",
        "_open",
        "_opening",
        "_stream",
        "_timer",
        "story",
    )

    def __init__(self, *, api: Api, story: Story, line: Line, on_end: Callable[[Story], None]) -> None:
        self.story = story
        self._api = api
        self._line = line
        self._on_end = on_end
        self._stream: Stream | None = api.stream(story) if story.ask.streams else None
        self._open = len(story.replies)
        self._opening = b"" if self._stream is None else self._stream.opening()
        self._early: list[bytes] | None = []
        """What is ready before the answer has begun."""
        self._held = b""
        """A first token whose end follows at the same moment, and goes along."""
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        """Sends the head."""

    @property
    def is_over(self) -> bool:
        """Whether the client has all that it will get."""
        return self._is_over

    def begin(self) -> None:
        """All replies are on their way: send what there is of them, and the head soon."""
        if self._is_over:
            return
        if self._stream is None:
            self._early = None
        elif self._early:
            self._send_head()
        else:
            self._timer = asyncio.get_running_loop().call_later(HEAD_AFTER_S, self._send_head)
        if not self._open:
            self._end()

    def abandon(self) -> None:
        """The client has left: send nothing more."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def write(self, data: bytes) -> None:
        """Send events, after the head; before the answer has begun they are kept."""
        if not data:
            return
        if self._early is None:
            self._line.write(data)
        else:
            self._early.append(data)
            if self._timer is not None:
                self._send_head()

    def _send_head(self) -> None:
        early, self._early = self._early, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_over or self._stream is None or early is None:
            return
        self._line.write(b"".join([self._line.begin_stream(), self._opening, *early]))

    def first(self, place: int, event: FirstToken) -> None:
        """Send the first token of a reply."""
        story, stream = self.story, self._stream
        story.caches[place] = event.cache
        if stream is None:
            return
        data = stream.first(place) + stream.tokens(place, 0, 1)
        if story.replies[place].tokens > 1:
            self.write(data)
        else:
            self._held += data

    def tokens(self, place: int, start: int, end: int) -> None:
        """Send tokens of a reply."""
        stream = self._stream
        if stream is None:
            return
        data = stream.tokens(place, start, end)
        if data and self._early is None:
            self._line.write(data)
        else:
            self.write(data)

    def finished(self, place: int, told: int) -> None:
        """Send what is left of a reply, and with the last of them the end."""
        stream, self._open = self._stream, self._open - 1
        if stream is not None:
            held, self._held = self._held, b""
            rest = stream.tokens(place, told, self.story.replies[place].tokens) + stream.last(place)
            closing = stream.closing() if not self._open else b""
            self.write(held + rest + closing)
        if not self._open and self._early is None:
            self._end()

    def refused(self, event: Refused) -> None:
        """Send the reason, once."""
        if self._is_over:
            return
        self.abandon()
        if event.retry_after_s is None or not isfinite(event.retry_after_s):
            fault = Fault(400, event.reason)
        else:
            fault = Fault(429, event.reason, code="rate_limit_exceeded", retry_after_s=event.retry_after_s)
        self._say(fault)

    def failed(self, reason: str) -> None:
        """Send an error: as the whole answer, or as the last event of a stream that has begun."""
        if self._is_over:
            return
        self.abandon()
        if self._stream is None or self._early is not None:
            self._say(Fault(500, reason, code="fleet_broken"))
            return
        self._line.write(self._stream.failed(reason) + (END if self.story.is_chunked else b""))
        self._line.done()

    def _say(self, fault: Fault) -> None:
        body = fault.body(self._api.style, self._line.request_number)
        self._line.answer(fault.status, body, fault.headers())

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._on_end(self.story)
        if self._stream is None:
            self._line.answer(200, self._api.whole(self.story))
        else:
            self._line.done()


class FleetReply:
    """One reply of an exchange, as the fleet tells of it."""

    __slots__ = ("_exchange", "_place", "_told", "finish_reason")

    def __init__(self, exchange: Exchange, place: int) -> None:
        reply = exchange.story.replies[place]
        self.finish_reason = "length" if reply.finish == "length" else "stop"
        self._exchange = exchange
        self._place = place
        self._told = 0

    def first(self, event: FirstToken) -> None:
        """The first token is there."""
        self._told = 1
        self._exchange.first(self._place, event)

    def tokens(self, total: int) -> None:
        """More tokens are there, `total` in all."""
        if total > self._told:
            self._exchange.tokens(self._place, self._told, total)
            self._told = total

    def finished(self, event: Finished) -> None:
        """All tokens are there."""
        self._exchange.finished(self._place, self._told)

    def refused(self, event: Refused) -> None:
        """There will be none."""
        self._exchange.refused(event)

    def failed(self, reason: str) -> None:
        """The fleet has broken down."""
        self._exchange.failed(reason)
