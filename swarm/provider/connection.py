"""One client's connection: HTTP/1.1 in, answers out, one request at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, cast

import httptools

from swarm.provider.limits import ServerLimits
from swarm.provider.refusal import Fault

REASONS = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    417: b"Expectation Failed",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
JSON = b"application/json"


@dataclass(slots=True)
class Request:
    """A request as it came."""

    method: bytes = b""
    path: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """By lower-case name; of one that is repeated, the first."""
    parts: list[bytes] = field(default_factory=list)
    keeps_alive: bool = True

    def body(self) -> bytes:
        """Return the whole body."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)


class Service(Protocol):
    """What is behind all connections."""

    limits: ServerLimits

    def joined(self, connection: Connection) -> bool:
        """A client connected; False if there are too many."""

    def left(self, connection: Connection) -> None:
        """A connection is closed."""

    def handle(self, connection: Connection, request: Request) -> int | None:
        """Answer a request, now or later; return the number to cancel it by, if later."""

    def cancel(self, number: int) -> None:
        """Nobody waits for a request any longer."""


class Connection(asyncio.Protocol):
    """Parses, bounds and answers; what an answer says is the service's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._coming: Request | None = None
        """Being received."""
        self._current: Request | None = None
        """Being answered."""
        self._queue: deque[Request] = deque()
        self._number: int | None = None
        self._head_bytes = 0
        self._body_bytes = 0
        self._in_body = False
        self._is_closing = False
        self.deadline_s = monotonic() + service.limits.head_s
        """When the client is too slow; infinite while it waits for us."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes_max)
        if not self._service.joined(self):
            self._refuse(Fault(503, f"over {self._limits.connections_max} connections", retry_after_s=1.0))

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._is_closing:
            return
        before = self._body_bytes if self._in_body else -1
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Fault(400, "upgrades are not served"))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Fault) else Fault(400, f"not HTTP/1.1: {error}"[:200]))
        if self._in_body and self._body_bytes == before:
            # Chunk extensions and trailers are bytes that bring no body.
            self._head_bytes += len(data)
        elif self._in_body:
            return
        if self._head_bytes > self._limits.header_bytes_max and not self._is_closing:
            self._refuse(Fault(431, f"over {self._limits.header_bytes_max} bytes of headers"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what the client asked for."""
        self._is_closing = True
        self._transport = None
        self._queue.clear()
        if self._number is not None:
            self._service.cancel(self._number)
            self._number = None
        self._service.left(self)

    def pause_writing(self) -> None:
        """Give the client up: it has not read a whole buffer of events."""
        self.abort()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._coming = Request()
        if self._current is None:
            self.deadline_s = monotonic() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        assert self._coming is not None
        self._coming.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if self._coming is not None and not self._in_body:
            self._coming.headers.setdefault(name.lower(), value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Look at the headers before there is a body."""
        request = self._coming
        assert request is not None
        if self._parser.should_upgrade():
            raise Fault(400, "upgrades are not served")
        request.method = self._parser.get_method()
        request.path = request.path.split(b"?", 1)[0]
        request.keeps_alive = self._parser.should_keep_alive()
        self._in_body = True
        self._head_bytes = self._body_bytes = 0
        if self._current is None:
            self.deadline_s = monotonic() + self._limits.body_s
        length = request.headers.get(b"content-length", b"0")
        if len(length) > 18 or int(length) > self._limits.body_bytes_max:
            raise self._too_large()
        if request.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        assert self._coming is not None
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes_max:
            raise self._too_large()
        self._coming.parts.append(data)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for the one before it."""
        request, self._coming = self._coming, None
        assert request is not None
        self._in_body = False
        self._head_bytes = 0
        if self._current is None:
            self._begin(request)
        elif len(self._queue) < self._limits.pipelined_max:
            self._queue.append(request)
        else:
            raise Fault(429, f"over {self._limits.pipelined_max} requests wait on this connection")

    # What answers call.

    @property
    def connection_header(self) -> bytes:
        """What the answer's head says of the connection."""
        request = self._current
        return b"" if request is None or request.keeps_alive else b"Connection: close\r\n"

    def write(self, data: bytes) -> None:
        """Send bytes of an answer."""
        if self._transport is not None:
            self._transport.write(data)

    def answer(self, status: int, body: bytes, headers: bytes = b"", kind: bytes = JSON) -> None:
        """Send a whole answer; the request is done with."""
        head = b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n"
        self.write(head % (status, REASONS[status], kind, len(body), headers, self.connection_header) + body)
        self.done()

    def done(self) -> None:
        """The answer's last byte was written."""
        request, self._current, self._number = self._current, None, None
        if self._transport is None:
            return
        if request is None or not request.keeps_alive:
            self._close()
            return
        self.deadline_s = monotonic() + self._limits.idle_s
        if self._queue:
            # Not at once: the fleet may be in the middle of telling its events.
            asyncio.get_running_loop().call_soon(self._next)

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Close: the client was too slow."""
        if self._coming is not None:
            self._refuse(Fault(408, "the request did not arrive in time"))
        else:
            self.abort()

    def _begin(self, request: Request) -> None:
        self._current = request
        self.deadline_s = float("inf")
        number = self._service.handle(self, request)
        if self._current is request:
            self._number = number

    def _next(self) -> None:
        if self._current is None and self._queue and self._transport is not None:
            self._begin(self._queue.popleft())

    def _refuse(self, fault: Fault) -> None:
        """Answer what cannot be read on, and close."""
        self._is_closing = True
        if self._current is None and self._transport is not None:
            body = fault.body()
            self._transport.write(
                b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n%b"
                % (fault.status, REASONS[fault.status], JSON, len(body), fault.headers(), body)
            )
        self._close()

    def _close(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def _too_large(self) -> Fault:
        return Fault(413, f"a body of over {self._limits.body_bytes_max} bytes")
