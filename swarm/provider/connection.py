"""One client's connection: HTTP/1.1 in, answers out, one request at a time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, cast

import httptools

from swarm.provider.heads import EVENTS, JSON, head, preflight, request_id
from swarm.provider.inflate import inflated
from swarm.provider.limits import ServerLimits
from swarm.provider.refusal import Fault

GONE_FIRST_S, GONE_EVERY_S = 0.05, 0.5
"""When a client that sends no more is looked at: whether it still reads."""

LOOK_S, LOOK_S_MAX = 0.001, 0.1
"""How much less than the truth a loop's time may be; beyond the larger one it is another clock."""

LINGER_S = 2.0
"""How long what a refused client still sends is read, and dropped."""


@dataclass(slots=True)
class Request:
    """A request as it came."""

    method: bytes = b""
    path: bytes = b""
    """The target's path, without what a proxy is told before it, and without its query."""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """By lower-case name; of one that is repeated, the first."""
    parts: list[bytes] = field(default_factory=list)
    keeps_alive: bool = True
    is_chunked: bool = True
    """Whether an answer of unknown length may be sent in chunks: HTTP/1.0 has none."""
    number: bytes = b""
    """What the answer says that the request is known by."""
    came_s: float = 0.0
    """When its last bytes were there, and it was its turn: `time.monotonic`."""

    def body(self, bytes_max: int) -> bytes:
        """Return the whole body without its coding, and let go of what came; raises `Fault`."""
        body = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
        self.parts.clear()
        coding = self.headers.get(b"content-encoding")
        return body if coding is None else inflated(body, coding.lower(), bytes_max)


Cancel = Callable[[], None]


class Service(Protocol):
    """What is behind all connections."""

    limits: ServerLimits

    def joined(self, connection: ClientConnection) -> bool:
        """A client connected; False if there are too many."""

    def left(self, connection: ClientConnection) -> None:
        """A connection is closed."""

    def answered(self, request: Request, status: int) -> None:
        """An answer has begun."""

    def handle(self, connection: ClientConnection, request: Request) -> Cancel | None:
        """Answer a request, now or later; return how to give it up, if later."""


class ClientConnection(asyncio.Protocol):
    """Parses, bounds and answers; what an answer says is the service's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        """Of the socket, while it may be written to."""
        self._coming: Request | None = None
        """Being received."""
        self._current: Request | None = None
        """Being answered."""
        self._loop_time = monotonic
        self._read_s = 0.0
        """When the bytes that are being parsed were read."""
        self._queue: deque[Request] = deque()
        self._cancel: Cancel | None = None
        self._fault: Fault | None = None
        """What is said of the bytes that cannot be read, once those before them are answered."""
        self._offered: Request | None = None
        """Came with an offer to speak HTTP/2."""
        self._head_bytes = 0
        self._field_bytes = 0
        """Of the target and the headers, as far as they were read."""
        self._body_bytes = 0
        self._in_body = False
        self._is_closing = False
        self._is_half = False
        """The client sends no more; what it has asked is still answered."""
        self._has_begun = False
        """The answer under way has a head."""
        self.deadline_s = monotonic() + service.limits.head_s
        """When the client is too slow; infinite while it waits for us."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes_max)
        self._descriptor = self._transport.get_extra_info("socket").fileno()
        self._loop_time = asyncio.get_running_loop().time
        if not self._service.joined(self):
            self._refuse(Fault(503, f"over {self._limits.connections_max} connections", retry_after_s=1.0))

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._is_closing:
            return
        self._read_s = arrived_s(monotonic(), self._loop_time())
        before = self._body_bytes if self._in_body else -1
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._feed(data)
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

    def eof_received(self) -> bool:
        """Take the end of what the client sends; True where answers are still to go out.

        A client that has closed altogether looks the same, until something is sent to it.
        """
        self._is_half = True
        if self._is_closing and self._current is None and self._fault is None:
            return False
        if self._coming is not None and not self._is_closing:
            self._refuse(Fault(400, "the request ended before it was whole"))
        current, loop = self._current, asyncio.get_running_loop()
        if current is not None and current.is_chunked and not self._has_begun:
            # One that reads passes over it (RFC 9110, 15.2); one that is gone answers with a reset.
            self.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        elif current is not None and self._has_begun:
            # Within a stream a comment does the same.
            self.write(b"3\r\n:\n\n\r\n" if current.is_chunked else b":\n\n")
        if current is not None:
            loop.call_later(GONE_FIRST_S, self._look_whether_gone)
        return current is not None or bool(self._queue) or self._fault is not None

    def _look_whether_gone(self) -> None:
        if self._transport is None:
            return
        found = self._transport.get_extra_info("socket")
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
        else:
            asyncio.get_running_loop().call_later(GONE_EVERY_S, self._look_whether_gone)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what the client asked for."""
        self._is_closing = True
        self._transport, self._descriptor = None, -1
        self._queue.clear()
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        self._service.left(self)

    def pause_writing(self) -> None:
        """Give the client up: it has not read a whole buffer of events."""
        self.abort()

    def _feed(self, data: bytes) -> None:
        """Parse bytes; an offer to speak HTTP/2 is declined by an answer in HTTP/1.1 (RFC 9110, 7.8)."""
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                # To the parser all that follows is another protocol: the request is read again without it.
                assert self._offered is not None
                head, self._offered = _without_offer(self._offered), None
                self._parser = httptools.HttpRequestParser(self)
                data = head + data[offer.args[0] :]

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._coming = Request()
        self._field_bytes = 0
        if self._current is None:
            self.deadline_s = monotonic() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        assert self._coming is not None
        self._count_fields(len(url))
        self._coming.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count_fields(len(name) + len(value) + 4)
        if self._coming is not None and not self._in_body:
            self._coming.headers.setdefault(name.lower(), value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Look at the headers before there is a body."""
        request, parser = self._coming, self._parser
        assert request is not None
        request.method = parser.get_method()
        if parser.should_upgrade():
            if request.headers.get(b"upgrade", b"").lower() != b"h2c":
                raise Fault(400, "upgrades are not served")
            self._offered = request
            return
        request.path = _path(request.path)
        request.keeps_alive = parser.should_keep_alive()
        request.is_chunked = parser.get_http_version() != "1.0"
        request.number = request_id(request.headers)
        self._in_body = True
        self._head_bytes = self._body_bytes = 0
        if self._current is None:
            self.deadline_s = monotonic() + self._limits.body_s
        length = request.headers.get(b"content-length", b"0")
        if len(length) > 18 or int(length) > self._limits.body_bytes_max:
            raise self._too_large()
        if request.headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        assert self._coming is not None
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes_max:
            raise self._too_large()
        self._coming.parts.append(data)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for the one before it."""
        if self._offered is not None:
            return
        request, self._coming = self._coming, None
        assert request is not None
        self._in_body = False
        self._head_bytes = self._field_bytes = 0
        request.came_s = self._read_s
        if self._current is None and not self._queue:
            self._begin(request)
            return
        self._queue.append(request)
        if len(self._queue) == self._limits.pipelined_max and self._transport is not None:
            # What was read with it waits as well; nothing more is read until it is answered.
            self._transport.pause_reading()

    # What answers call.

    @property
    def is_chunked(self) -> bool:
        """Whether the answer under way may come in chunks."""
        return self._current is not None and self._current.is_chunked

    @property
    def request_number(self) -> bytes:
        """What the answer under way says that its request is known by."""
        return b"-" if self._current is None else self._current.number

    def write(self, data: bytes) -> None:
        """Send bytes of an answer, at once: the loop would first read all that has come in, and be late."""
        transport, sent = self._transport, 0
        if transport is None:
            return
        if self._descriptor >= 0 and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._descriptor, data)
            except BlockingIOError:
                pass
            except OSError:
                # The client is gone.
                self.abort()
                return
        if sent < len(data):
            transport.write(data[sent:])

    def begin_stream(self) -> bytes:
        """Return the head of an answer that comes event by event."""
        request = self._current
        assert request is not None
        fields = b"Content-Type: %b\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n" % EVENTS
        if request.is_chunked:
            fields += b"Transfer-Encoding: chunked\r\n"
        else:
            request.keeps_alive = False
        return self._head(200, fields)

    def answer(self, status: int, body: bytes, headers: bytes = b"", kind: bytes = JSON) -> None:
        """Send a whole answer; the request is done with."""
        request = self._current
        fields = b"" if status == 204 else b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, len(body))
        told = self._head(status, fields + headers)
        # RFC 9110, 9.3.2: to HEAD everything is said of a body but the body.
        self.write(told if request is not None and request.method == b"HEAD" else told + body)
        self.done()

    def allow(self) -> None:
        """Answer a browser that asks what it may send."""
        assert self._current is not None
        self.answer(204, b"", preflight(self._current.headers))

    def done(self) -> None:
        """The answer's last byte was written."""
        request, self._current, self._cancel = self._current, None, None
        if self._transport is None:
            return
        self._has_begun = False
        is_last = self._is_half and not self._queue and self._fault is None
        if request is None or not request.keeps_alive or is_last:
            self._close()
            return
        self.deadline_s = monotonic() + self._limits.idle_s
        if self._queue or self._fault is not None:
            # Not at once: the fleet may be in the middle of telling its events.
            asyncio.get_running_loop().call_soon(self._next)

    def abort(self) -> None:
        """Close without a word."""
        self._descriptor = -1
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """Close: the client was too slow."""
        if self._coming is not None and not self._is_closing:
            self._refuse(Fault(408, "the request did not arrive in time"))
        else:
            self.abort()

    def _head(self, status: int, fields: bytes) -> bytes:
        request = self._current
        self._has_begun = True
        if request is not None:
            self._service.answered(request, status)
        if request is None or not request.keeps_alive:
            fields += b"Connection: close\r\n"
        elif not request.is_chunked:
            # A client of HTTP/1.0 that asked for it closes unless it is told.
            fields += b"Connection: keep-alive\r\n"
        number = b"-" if request is None else request.number
        is_shared = request is not None and b"origin" in request.headers
        return head(status, fields, number=number, is_shared=is_shared)

    def _begin(self, request: Request) -> None:
        self._current = request
        self.deadline_s = float("inf")
        cancel = self._service.handle(self, request)
        if self._current is request:
            self._cancel = cancel

    def _next(self) -> None:
        if self._current is not None or self._transport is None:
            return
        if self._queue:
            if len(self._queue) == self._limits.pipelined_max and self._fault is None:
                self._transport.resume_reading()
            request = self._queue.popleft()
            request.came_s = monotonic()
            self._begin(request)
        elif self._fault is not None:
            self._say_last(self._fault)

    def _refuse(self, fault: Fault) -> None:
        """Answer what cannot be read on, once what came before it is answered, and close."""
        self._is_closing = True
        self._fault = fault
        if self._current is None and not self._queue:
            self._say_last(fault)

    def _say_last(self, fault: Fault) -> None:
        body = fault.body()
        number = request_id({} if self._coming is None else self._coming.headers)
        fields = b"Content-Type: %b\r\nContent-Length: %d\r\n%bConnection: close\r\n"
        fields %= (JSON, len(body), fault.headers())
        self.write(head(fault.status, fields, number=number, is_shared=False) + body)
        self._fault = None
        if self._is_half or self._transport is None:
            self._close()
            return
        # Closing on bytes that were not read resets the connection, and the client may never see the answer.
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    def _close(self) -> None:
        self._is_closing = True
        self._descriptor = -1
        if self._transport is not None:
            self._transport.close()

    def _count_fields(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self._limits.header_bytes_max:
            raise Fault(431, f"over {self._limits.header_bytes_max} bytes of headers")

    def _too_large(self) -> Fault:
        return Fault(413, f"a body of over {self._limits.body_bytes_max} bytes")


def arrived_s(now_s: float, looked_s: float) -> float:
    """Return when bytes that are read now were there at the latest: when the loop saw them, with all others.

    `looked_s` is the loop's time: uvloop's is that of its last look, in whole milliseconds; asyncio's is now.
    """
    seen_s = looked_s + LOOK_S
    return seen_s if now_s - LOOK_S_MAX < seen_s < now_s else now_s


def _without_offer(request: Request) -> bytes:
    """Return the head of a request without its offer of another protocol."""
    lines = [b"%b %b HTTP/1.1" % (request.method, request.path)]
    lines += [b"%b: %b" % (k, v) for k, v in request.headers.items() if k not in _OFFER]
    return b"\r\n".join([*lines, b"", b""])


_OFFER = (b"upgrade", b"connection", b"http2-settings")


def _path(target: bytes) -> bytes:
    """Return a target's path: without query, without what stands before it for a proxy (RFC 9112, 3.2.2)."""
    path = target.split(b"?", 1)[0]
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    while b"//" in path:
        path = path.replace(b"//", b"/")
    return path.rstrip(b"/") or b"/"
