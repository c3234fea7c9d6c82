"""One request between the fleet and its client."""

from __future__ import annotations

from math import isfinite
from typing import Protocol

from swarm.fleet.events import CacheUse, Finished, FirstToken, Refused
from swarm.provider.bodies import Events, Identity, finish_reason, whole
from swarm.provider.completion_request import Ask
from swarm.provider.generated_text import Reply
from swarm.provider.refusal import Fault

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n%b\r\n"
)


class Line(Protocol):
    """The client's end of it."""

    def write(self, data: bytes) -> None:
        """Send bytes of an answer."""

    def answer(self, status: int, body: bytes, headers: bytes = b"") -> None:
        """Send a whole answer; the request is done with."""

    def done(self) -> None:
        """The answer's last byte was written."""

    @property
    def connection_header(self) -> bytes:
        """What the answer's head says of the connection."""


class Answer:
    """Writes what the fleet says."""

    __slots__ = (
        "_ask",
        "_cache",
        "_events",
        "_head",
        "_identity",
        "_line",
        "_refusal_code",
        "_reply",
        "_told",
        "finish_reason",
        "number",
    )

    def __init__(
        self,
        *,
        number: int,
        line: Line,
        ask: Ask,
        reply: Reply,
        identity: Identity,
        refusal_code: str | None,
    ) -> None:
        self.number = number
        self.finish_reason = finish_reason(ask)
        self._line = line
        self._ask = ask
        self._reply = reply
        self._identity = identity
        self._refusal_code = refusal_code
        self._events = Events(ask, reply, identity) if ask.streams else None
        self._cache = CacheUse(0, 0, 0, (), ())
        self._told = 0
        self._head = b""
        """Not sent yet."""

    def first(self, event: FirstToken) -> None:
        """Send the head and the first token."""
        self._cache = event.cache
        events = self._events
        if events is not None:
            self._told = 1
            head = STREAM_HEAD % self._line.connection_header + events.opening() + events.tokens(0, 1)
            if self._ask.output_tokens > 1:
                self._line.write(head)
            else:
                # The end follows at the same moment, and goes along.
                self._head = head

    def tokens(self, total: int) -> None:
        """Send the tokens up to `total`."""
        if self._events is not None and total > self._told:
            self._line.write(self._events.tokens(self._told, total))
            self._told = total

    def finished(self, event: Finished) -> None:
        """Send what is left, and the end."""
        events, total = self._events, event.output_tokens
        if events is None:
            self._line.answer(200, whole(self._ask, self._reply, self._identity, self._cache, total))
            return
        self._line.write(self._head + events.tokens(self._told, total) + events.closing(self._cache, total))
        self._line.done()

    def refused(self, event: Refused) -> None:
        """Send the reason."""
        if event.retry_after_s is None or not isfinite(event.retry_after_s):
            fault = Fault(400, event.reason, code=self._refusal_code)
        else:
            fault = Fault(429, event.reason, code="rate_limit_exceeded", retry_after_s=event.retry_after_s)
        self._line.answer(fault.status, fault.body(), fault.headers())

    def failed(self, reason: str) -> None:
        """Send an error: as the whole answer, or as the last event of a stream that has begun."""
        body = Fault(500, reason, code="fleet_broken").body()
        if self._events is None or not self._told or self._head:
            self._line.answer(500, body)
            return
        event = b"data: %b\n\n" % body
        self._line.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
        self._line.done()
