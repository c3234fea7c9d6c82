"""One client's connection and the one to the server behind it: bytes on as they come, a look at each beside.

A client has a connection of its own to the server, so that nothing of HTTP needs to be translated. Bytes are
sent on before they are looked at.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic, time
from typing import Protocol

import orjson

from swarm.capture.exchange import BODY_BYTES_MAX, Exchange, Outcome, api_of, kept, secret
from swarm.capture.framing import (
    Body,
    Head,
    Malformed,
    UntilClose,
    request_body,
    request_line,
    response_body,
    split_head,
    status_of,
)
from swarm.capture.upstream import Upstream
from swarm.capture.wire import Wire
from swarm.live.targets.transport.dial import ConnectError
from swarm.live.targets.transport.readiness import Readiness

WAITING_BYTES_MAX = 1024**2
"""Sent by one side and not taken by the other: then the first has to wait."""
PIPELINED_BYTES_MAX = 256 * 1024
"""Of requests that wait for the reply before theirs."""
CONNECT_S = 15.0
_REASONS = {400: b"Bad Request", 502: b"Bad Gateway", 504: b"Gateway Timeout", 503: b"Service Unavailable"}


class House(Protocol):
    """What is around all relays."""

    upstream: Upstream
    readiness: Readiness

    def page(self, method: bytes, target: bytes, head: Head) -> bytes | None:
        """Return a whole response of the proxy's own; None where a request is for the server."""

    def may_keep(self, size: int) -> bool:
        """Take room for bytes that are kept until an exchange is written down; False if there is none."""

    def let_go(self, size: int) -> None:
        """Give such room back."""

    def over(self, exchange: Exchange | None, outcome: Outcome) -> None:
        """Take the end of an exchange; None: of one that only passed."""

    def left(self, relay: Relay) -> None:
        """A client's connection is closed."""


class Passage:
    """A request on its way, and its reply."""

    __slots__ = (
        "asked_body",
        "closes",
        "exchange",
        "is_replied",
        "kept_bytes",
        "method",
        "replied_body",
        "replied_head",
        "resend",
        "resend_bytes",
    )

    def __init__(self, method: bytes, body: Body, exchange: Exchange | None, *, closes: bool) -> None:
        self.method = method
        self.asked_body = body
        self.exchange = exchange
        self.closes = closes
        """Nothing follows on its connections."""
        self.replied_head = b""
        self.replied_body: Body | None = None
        self.is_replied = False
        """A byte of the reply came."""
        self.resend: list[bytes] | None = []
        """All that was sent, while it may be sent again: its connection was in use before."""
        self.resend_bytes = 0
        self.kept_bytes = 0

    @property
    def is_over(self) -> bool:
        """Both the request and its reply are whole."""
        return self.asked_body.is_over and self.replied_body is not None and self.replied_body.is_over

    def take_reply(self, data: bytes, at_s: float, parts: list[bytes]) -> bool:
        """Look at bytes of the reply; return False where it switches protocols. Raises `Malformed`."""
        self.is_replied, self.resend = True, None
        while self.replied_body is None:
            data = self.replied_head + data if self.replied_head else data
            found = split_head(data)
            if found is None:
                self.replied_head = data
                return True
            head, end = found
            status = status_of(head)
            if status == 101:
                return False
            self.replied_head, data = b"", data[end:]
            if status >= 200:
                self._take_head(head, status, at_s)
            elif not data:
                return True
        used = 0 if self.replied_body.is_over else self.replied_body.take(data, parts)
        if used < len(data):
            raise Malformed("bytes after a reply's end")
        return True

    def _take_head(self, head: Head, status: int, at_s: float) -> None:
        self.replied_body = response_body(head, status, self.method)
        is_old = head.start.startswith(b"HTTP/1.0") and not head.has(b"connection", b"keep-alive")
        if head.has(b"connection", b"close") or is_old or isinstance(self.replied_body, UntilClose):
            self.closes = True
        if self.exchange is not None:
            self.exchange.status = status
            self.exchange.first_byte_s = at_s
            self.exchange.reply_headers = {
                name: head.get(name) for name in (b"content-type", b"content-encoding")
            }


class Relay:
    """A client's connection, and its own to the server."""

    def __init__(self, house: House, sock: socket.socket) -> None:
        self._house = house
        self._client = Wire(
            sock=sock,
            tls=None,
            readiness=house.readiness,
            on_data=self._asked,
            on_end=self._client_ended,
            on_drained=self._client_drained,
        )
        self._upstream: Wire | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._unsent: list[bytes] = []
        """For the server, while it is dialled."""
        self._inbox = b""
        """Of the client, not yet looked at: a head that is not whole, or the next request."""
        self._inbox_s = 0.0
        self._passage: Passage | None = None
        self._is_tunnel = False

    @property
    def is_idle(self) -> bool:
        """Whether no request is on its way."""
        return self._passage is None and not self._is_tunnel

    def stop(self) -> None:
        """Close once what is on its way has arrived."""
        if self.is_idle:
            self._close()
        elif self._passage is not None:
            self._passage.closes = True

    def cut(self) -> None:
        """Close now."""
        self._end("stopped", monotonic())
        self._close()

    # From the client.

    def _asked(self, data: bytes, at_s: float) -> None:
        if self._is_tunnel:
            self._send_on(data)
            return
        if not self._inbox:
            self._inbox_s = at_s
        self._inbox = self._inbox + data if self._inbox else data
        try:
            self._take(at_s)
        except Malformed as fault:
            self._refuse(400, str(fault), "malformed")

    def _take(self, at_s: float) -> None:
        """Look at what the client has sent; raises `Malformed`."""
        while self._inbox and not self._client.closed:
            passage = self._passage
            if passage is None:
                # Empty lines before a request are passed over (RFC 9112, 2.2).
                self._inbox = self._inbox.lstrip(b"\r\n")
                found = split_head(self._inbox)
                if found is None:
                    return
                head, end = found
                self._inbox = self._inbox[end:]
                self._begin(head, at_s)
                continue
            if passage.asked_body.is_over:
                if len(self._inbox) > PIPELINED_BYTES_MAX:
                    self._client.pause()
                return
            parts: list[bytes] = []
            used = passage.asked_body.take(self._inbox, parts)
            data, self._inbox = self._inbox[:used], self._inbox[used:]
            self._send_on(data)
            exchange = passage.exchange
            if exchange is not None and self._keep(passage, exchange, parts):
                exchange.asked += parts
            self._look_whether_asked(passage, at_s)

    def _begin(self, head: Head, at_s: float) -> None:
        method, target = request_line(head)
        if not target.startswith(b"/") and target != b"*":
            raise Malformed("a path is expected: this is a proxy in front of one server, not for all")
        page = self._house.page(method, target, head)
        if page is not None:
            self._client.send(page)
            self._client.finish()
            return
        body = request_body(head)
        api = api_of(method, target)
        exchange = None
        if api is not None:
            unix_s = time() - (monotonic() - self._inbox_s)
            exchange = Exchange(api, self._inbox_s, unix_s, kept(head.fields), secret(head.fields))
        is_old = head.start.endswith(b"1.0") and not head.has(b"connection", b"keep-alive")
        closes = is_old or head.has(b"connection", b"close")
        passage = self._passage = Passage(method, body, exchange, closes=closes)
        self._send_on(self._house.upstream.head(method, target, head, is_read=exchange is not None))
        self._look_whether_asked(passage, at_s)

    def _look_whether_asked(self, passage: Passage, at_s: float) -> None:
        if not passage.asked_body.is_over:
            return
        if passage.exchange is not None:
            passage.exchange.asked_s = at_s
        self._inbox_s = at_s
        if passage.is_over:
            self._finish(passage, at_s)

    def _keep(self, passage: Passage, exchange: Exchange, parts: list[bytes]) -> bool:
        """Return whether bytes of an exchange are kept to be read; once one has too many, none are."""
        size = sum(map(len, parts))
        if not exchange.is_whole:
            return False
        if passage.kept_bytes + size > BODY_BYTES_MAX or not self._house.may_keep(size):
            exchange.is_whole = False
            exchange.asked, exchange.replied = [], []
            self._house.let_go(passage.kept_bytes)
            passage.kept_bytes = 0
            return False
        passage.kept_bytes += size
        return True

    def _client_ended(self, why: str) -> None:
        # One that sends no more while it waits for a reply is taken to be gone, as all proxies do.
        self._end("client_gone", monotonic())
        self._close()

    def _client_drained(self) -> None:
        if self._upstream is not None:
            self._upstream.resume()

    # To the server.

    def _send_on(self, data: bytes) -> None:
        passage, upstream = self._passage, self._upstream
        if passage is not None and passage.resend is not None:
            passage.resend.append(data)
            passage.resend_bytes += len(data)
            if passage.resend_bytes > BODY_BYTES_MAX:
                passage.resend = None
        if upstream is None:
            self._unsent.append(data)
            if self._dialling is None:
                self._dialling = asyncio.get_running_loop().create_task(self._dial())
            if sum(map(len, self._unsent)) > WAITING_BYTES_MAX:
                self._client.pause()
            return
        upstream.send(data)
        if upstream.waiting_bytes > WAITING_BYTES_MAX:
            self._client.pause()

    async def _dial(self) -> None:
        try:
            sock, tls = await self._house.upstream.dialler.dial(CONNECT_S)
        except ConnectError as error:
            self._dialling = None
            self._refuse(504 if error.failure.kind == "timeout_connect" else 502, str(error), "unreachable")
            return
        self._dialling = None
        if self._client.closed:
            sock.close()
            return
        if self._passage is not None:
            # What is asked on a new connection is not asked again.
            self._passage.resend = None
        self._upstream = Wire(
            sock=sock,
            tls=tls,
            readiness=self._house.readiness,
            on_data=self._replied,
            on_end=self._upstream_ended,
            on_drained=self._client.resume,
        )
        unsent, self._unsent = self._unsent, []
        for data in unsent:
            self._upstream.send(data)
        if self._upstream is not None and self._upstream.waiting_bytes <= WAITING_BYTES_MAX:
            self._client.resume()

    # From the server.

    def _replied(self, data: bytes, at_s: float) -> None:
        client, passage = self._client, self._passage
        if passage is None and not self._is_tunnel:
            # Nobody asked for anything.
            self._drop_upstream()
            return
        client.send(data)
        if client.waiting_bytes > WAITING_BYTES_MAX and self._upstream is not None:
            self._upstream.pause()
        if passage is None:
            return
        parts: list[bytes] = []
        body = passage.replied_body
        try:
            if body is not None and not body.is_over:
                if body.take(data, parts) < len(data):
                    raise Malformed("bytes after a reply's end")
            elif not passage.take_reply(data, at_s, parts):
                self._switch(at_s)
                return
        except Malformed:
            self._end("malformed", at_s)
            self._close(resets=True)
            return
        exchange = passage.exchange
        if exchange is not None and parts and self._keep(passage, exchange, parts):
            for part in parts:
                exchange.replied.append((at_s, part))
        body = passage.replied_body
        if body is not None and body.is_over and passage.asked_body.is_over:
            self._finish(passage, at_s)

    def _switch(self, at_s: float) -> None:
        """Pass everything on from now: it is another protocol."""
        self._end("ok", at_s)
        self._is_tunnel = True
        if self._inbox:
            data, self._inbox = self._inbox, b""
            self._send_on(data)

    def _finish(self, passage: Passage, at_s: float) -> None:
        self._end("ok", at_s)
        if passage.closes:
            self._drop_upstream()
            self._client.finish()
            return
        self._client.resume()
        if self._inbox:
            try:
                self._take(at_s)
            except Malformed as fault:
                self._refuse(400, str(fault), "malformed")

    def _upstream_ended(self, why: str) -> None:
        self._upstream = None
        passage = self._passage
        if self._is_tunnel:
            self._client.finish()
        elif passage is None:
            return
        elif passage.resend is not None:
            # The server closed a connection just as it came in use again, and has answered nothing.
            self._unsent, passage.resend = passage.resend, None
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
        elif not passage.is_replied:
            self._refuse(
                502, f"the server closed the connection without a reply {why}".rstrip(), "upstream_gone"
            )
        elif isinstance(passage.replied_body, UntilClose) and not why:
            self._end("ok", monotonic())
            self._client.finish()
        elif passage.replied_body is not None and passage.replied_body.is_over:
            # It has answered before it had read the whole request.
            self._end("ok", monotonic())
            self._client.finish()
        else:
            self._end("upstream_gone", monotonic())
            self._close(resets=True)

    # Ends.

    def _refuse(self, status: int, why: str, outcome: Outcome) -> None:
        """Answer in the server's place, in a shape that clients of all APIs read, and close."""
        is_late = self._passage is not None and self._passage.is_replied
        self._end(outcome, monotonic())
        self._drop_upstream()
        if is_late:
            self._close(resets=True)
            return
        told = {"type": "error", "error": {"type": "capture_error", "message": f"swarm capture: {why}"}}
        body = orjson.dumps(told)
        self._client.send(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%b" % (status, _REASONS[status], len(body), body)
        )
        self._client.finish()

    def _end(self, outcome: Outcome, at_s: float) -> None:
        """Hand over what was seen of the exchange on its way, if there is one."""
        passage, self._passage = self._passage, None
        if passage is None:
            return
        exchange = passage.exchange
        if exchange is not None:
            exchange.ended_s, exchange.outcome = at_s, outcome
        self._house.over(exchange, outcome)
        self._house.let_go(passage.kept_bytes)

    def _drop_upstream(self) -> None:
        self._unsent.clear()
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None

    def _close(self, *, resets: bool = False) -> None:
        self._drop_upstream()
        if resets:
            self._client.reset()
        else:
            self._client.close()
        self._house.left(self)
