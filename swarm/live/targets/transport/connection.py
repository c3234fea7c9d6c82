"""One HTTP/1.1 connection: a request's buffers out, a response's bytes in, stamped as they arrive."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import httptools

from swarm.config.target import FailureClass, LimitConfig
from swarm.context.render import Buffer
from swarm.live.targets.failure import Failure
from swarm.live.targets.transport.readiness import Readiness
from swarm.live.targets.transport.receive_times import ANCILLARY_BYTES, lag_s
from swarm.live.targets.transport.receive_times import enable as enable_stamps
from swarm.live.targets.transport.send_buffer import SendBuffer
from swarm.live.targets.transport.tls import TlsLayer

READ_BYTES = 64 * 1024
INFORMATIONAL_MAX = 16
"""1xx responses before the real one."""

Headers = list[tuple[bytes, bytes]]


class Sink(Protocol):
    """Who a response is for. Called from the event loop's read callback, so it must not block."""

    def head(self, status: int, headers: Headers, at: float) -> None:
        """Take status and headers of a response whose first byte arrived at `at`."""

    def data(self, body: bytes, at: float, lag: float) -> None:
        """Take the body bytes of one read, which arrived at `at`, `lag` seconds before they were read."""

    def end(self, failure: Failure | None, at: float) -> None:
        """Take the end of the response, with its last bytes or when it was cut short; the last call."""


class Connection:
    """A connected socket and the response in flight on it.

    The socket is registered for reading from the connection's first to its last moment, so that a server
    that closes an idle connection is noticed at once, and a turn registers nothing.
    """

    __slots__ = (
        "_body",
        "_bytes_max",
        "_complete",
        "_first_byte_s",
        "_head_only",
        "_headers",
        "_headers_done",
        "_informational",
        "_limits",
        "_must_close",
        "_on_closed",
        "_on_idle",
        "_outbox",
        "_parser",
        "_paused",
        "_quiet_bytes",
        "_read_bytes",
        "_readiness",
        "_recvmsg",
        "_sink",
        "_sock",
        "_tls",
        "_until_close",
        "closed",
        "on_body",
        "sent_s",
        "turns",
    )

    def __init__(
        self,
        *,
        sock: socket.socket,
        tls: TlsLayer | None,
        readiness: Readiness,
        limits: LimitConfig,
        on_idle: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self._sock = sock
        self._tls = tls
        self._readiness = readiness
        self._limits = limits
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._recvmsg = sock.recvmsg if enable_stamps(sock) else None
        self._sink: Sink | None = None
        self._outbox = SendBuffer(sock)
        self._body: list[bytes] = []
        # The parser takes its callbacks here, once: list.append spares a Python call per HTTP chunk.
        self.on_body = self._body.append
        self._headers: Headers = []
        self._headers_done = False
        self._complete = False
        self._head_only = False
        self._must_close = False
        self._until_close = False
        self._informational = 0
        self._quiet_bytes = 0
        self._read_bytes = 0
        self._bytes_max = limits.response_bytes_max
        self._first_byte_s = 0.0
        self._paused = False
        self.closed = False
        self.sent_s = 0.0
        self.turns = 0
        self._parser = httptools.HttpResponseParser(self)
        readiness.add(sock.fileno(), self._readable)

    def start(self, buffers: list[Buffer], sink: Sink, *, bytes_max: int, head_only: bool = False) -> None:
        """Send a request, given whole; its response goes to `sink`, and has at most `bytes_max` bytes."""
        assert self._sink is None and not self.closed, "one request at a time"
        self._sink = sink
        self._bytes_max = bytes_max
        self._headers = []
        self._headers_done = self._complete = self._until_close = False
        self._head_only = self._must_close = head_only
        self._informational = self._quiet_bytes = self._read_bytes = 0
        self.turns += 1
        self.sent_s = monotonic()
        if self._tls is not None:
            try:
                buffers = self._tls.encrypt(buffers)
            except OSError as error:
                # The server has ended the encryption of a connection that was idle.
                self._broken("reset", f"{type(error).__name__} while encrypting")
                return
        self._outbox.send(buffers)

    def abort(self) -> None:
        """Close without telling the sink."""
        self._sink = None
        self._close()

    def fail(self, failure: Failure) -> None:
        """Close, and end the response in flight so."""
        sink, self._sink = self._sink, None
        self._close()
        if sink is not None:
            sink.end(failure, monotonic())

    def pause(self) -> None:
        """Stop reading: the kernel's buffer fills up and the server has to wait."""
        if not self._paused and not self.closed:
            self._paused = True
            self._readiness.remove(self._sock.fileno())

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.closed:
            self._paused = False
            self._readiness.add(self._sock.fileno(), self._readable)

    @property
    def written_s(self) -> float | None:
        """When the kernel had taken the whole request; None while it has not."""
        return self._outbox.emptied_s if self._outbox.is_empty else None

    @property
    def is_complete(self) -> bool:
        """Whether the response in flight has ended with the bytes that were read last."""
        return self._complete

    # Reading.

    def _readable(self) -> None:
        lag = 0.0
        try:
            if self._recvmsg is not None:
                data, ancillary, _, _ = self._recvmsg(READ_BYTES, ANCILLARY_BYTES)
                if ancillary:
                    lag = lag_s(ancillary)
            else:
                data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken("reset", f"{type(error).__name__} while reading")
            return
        try:
            if self._tls is not None and data:
                self._decrypt(data, lag)
            elif data:
                self._received(data, lag)
            else:
                self._ended()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this response and nothing else
            self._broken("malformed", f"the response could not be read: {type(fault).__name__}: {fault}")

    def _decrypt(self, data: bytes, lag: float) -> None:
        assert self._tls is not None
        plain, ended, problem, reply = self._tls.decrypt(data)
        if reply:
            self._outbox.send([reply])
        if plain:
            self._received(plain, lag)
        if problem is not None and not self.closed:
            self._broken("tls", problem)
        elif ended and not self.closed:
            self._ended()

    def _received(self, data: bytes, lag: float) -> None:
        at = monotonic() - lag
        sink = self._sink
        if sink is None:
            # Nobody asked for anything.
            self._close()
            return
        if self._read_bytes == 0:
            self._first_byte_s = at
        self._read_bytes += len(data)
        problem = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What a callback raised says more than that one did.
            problem = f"not HTTP/1.1: {error.__context__ or error}"[:300]
            self._must_close = True
        body = self._body
        if not body:
            # Headers, trailers and chunk extensions are bytes that bring no body.
            self._quiet_bytes += len(data)
        elif not self.closed:
            self._quiet_bytes = 0
            part = body[0] if len(body) == 1 else b"".join(body)
            body.clear()
            sink.data(part, at, lag)
        if self.closed:
            return
        if self._complete:
            self._finished(sink, at, problem)
        elif problem is not None:
            # What a reused connection has before any header may be left of the response before.
            self._broken("malformed", problem, stale=self.turns > 1 and not self._headers_done)
        elif self._quiet_bytes > self._limits.header_bytes_max:
            self._broken("too_large", f"over {self._limits.header_bytes_max} bytes of headers or trailers")
        elif self._read_bytes > self._bytes_max:
            self._broken("too_large", f"a response of over {self._bytes_max} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header from the parser; trailers are dropped."""
        if not self._headers_done:
            # The parser leaves the space after a value (RFC 9110, 5.5) to us.
            self._headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the end of the headers from the parser."""
        status = self._parser.get_status_code()
        if self._complete or self._sink is None:
            raise httptools.HttpParserError("a response that nobody asked for")
        if status < 200:
            self._informational += 1
            if status == 101 or self._informational > INFORMATIONAL_MAX:
                raise httptools.HttpParserError(f"unexpected status {status}")
            self._headers = []
            return
        self._headers_done = True
        # The parser forgets this at the message's end.
        self._must_close = self._must_close or not self._parser.should_keep_alive()
        sized = False
        for name, _ in self._headers:
            lowered = name.lower()
            if lowered == b"content-length" or lowered == b"transfer-encoding":
                sized = True
        self._until_close = not sized and status not in (204, 304)
        self._sink.head(status, self._headers, self._first_byte_s)
        if self._head_only:
            self._complete = True

    def on_message_complete(self) -> None:
        """Take the end of the response from the parser."""
        if self._headers_done:
            self._complete = True

    # Endings.

    def _finished(self, sink: Sink, at: float, problem: str | None) -> None:
        self._sink = None
        self.resume()
        # A server may answer without having read the whole request, and then no next one can follow.
        if self._must_close or self._outbox.is_broken or not self._outbox.is_empty:
            self._close()
        else:
            self._on_idle(self)
        failure = None
        if problem is not None:
            failure = Failure("malformed", f"the response goes on after its end: {problem}")
        sink.end(failure, at)

    def _ended(self) -> None:
        if self._sink is not None and self._headers_done and self._until_close:
            self._until_close = False
            sink, self._sink = self._sink, None
            self._close()
            sink.end(None, monotonic())
        else:
            self._broken("truncated", "the server closed the connection before the response was complete")

    def _broken(self, kind: FailureClass, detail: str, *, stale: bool = False) -> None:
        stale = stale or (self.turns > 1 and self._read_bytes == 0 and kind in ("reset", "truncated"))
        self.fail(Failure(kind, detail, stale))

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._outbox.close()
        self._readiness.remove(self._sock.fileno())
        self._sock.close()
        del self._parser
        self._on_closed(self)
