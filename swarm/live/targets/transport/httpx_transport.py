"""The own transport behind httpx's `transport=`: any httpx request over the connections that turns use."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Self

import httpx

from swarm.config.target import FailureClass, LimitConfig
from swarm.context.render import Buffer
from swarm.live.targets.failure import Failure
from swarm.live.targets.transport.connection import Connection, Headers
from swarm.live.targets.transport.dial import ConnectError, Origin
from swarm.live.targets.transport.pool import ConnectionPool
from swarm.live.targets.transport.readiness import readiness
from swarm.live.targets.transport.tls import client_context

UNREAD_BYTES_MAX = 256 * 1024
"""Body bytes that wait for the caller before the server is made to wait too."""
ORIGINS_MAX = 1024

ERRORS: dict[FailureClass, type[httpx.TransportError]] = {
    "refused": httpx.ConnectError,
    "unreachable": httpx.ConnectError,
    "tls": httpx.ConnectError,
    "timeout_connect": httpx.ConnectTimeout,
    "client_limit": httpx.PoolTimeout,
    "reset": httpx.ReadError,
    "truncated": httpx.RemoteProtocolError,
    "malformed": httpx.RemoteProtocolError,
    "too_large": httpx.RemoteProtocolError,
}


class _Body(httpx.AsyncByteStream):
    """A response's body, read while it arrives."""

    def __init__(self, request: httpx.Request, connection: Connection) -> None:
        self._request = request
        self._connection = connection
        self._parts: deque[bytes] = deque()
        self._unread_bytes = 0
        self._changed = asyncio.Event()
        self._ended = False
        self.failure: Failure | None = None
        self.status = 0
        self.headers: Headers = []

    def head(self, status: int, headers: Headers, at: float) -> None:
        """Take status and headers from the connection."""
        self.status, self.headers = status, headers
        self._changed.set()

    def data(self, body: bytes, at: float, lag: float) -> None:
        """Take the body bytes of one read from the connection."""
        self._parts.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > UNREAD_BYTES_MAX:
            self._connection.pause()
        self._changed.set()

    def end(self, failure: Failure | None, at: float) -> None:
        """Take the end of the response from the connection."""
        self.failure, self._ended = failure, True
        self._changed.set()

    async def until_head(self) -> None:
        """Return when status and headers are there; raises httpx's exceptions."""
        while not self.status:
            if self._ended:
                raise self._error()
            await self._change()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._unread_bytes -= len(part)
                yield part
            if self._ended:
                if self.failure is not None:
                    raise self._error()
                return
            self._connection.resume()
            await self._change()

    async def aclose(self) -> None:
        """Give up what has not been read."""
        if not self._ended:
            self._connection.abort()

    async def _change(self) -> None:
        self._changed.clear()
        limit_s = self._request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        except TimeoutError:
            self._connection.abort()
            self._ended = True
            raise httpx.ReadTimeout(f"nothing within {limit_s} s", request=self._request) from None

    def _error(self) -> httpx.TransportError:
        assert self.failure is not None
        return _error(self.failure, self._request)


class StreamTransport(httpx.AsyncBaseTransport):
    """An httpx transport; made and used within one event loop, for HTTP/1.1 without proxies."""

    def __init__(self, *, limits: LimitConfig, ca_file: str | None) -> None:
        self._limits = limits
        self._ca_file = ca_file
        self._readiness = readiness()
        self._pools: dict[Origin, ConnectionPool] = {}

    async def __aenter__(self) -> Self:
        return self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response with the body still to come."""
        buffers = await _buffers(request)
        pool = self._pool(request.url)
        connection = pool.take_idle()
        if connection is not None:
            body = await self._exchange(request, connection, buffers)
            if body is not None:
                return _response(body)
        limit_s = request.extensions.get("timeout", {}).get("connect")
        try:
            connection = await pool.dial(limit_s)
        except ConnectError as error:
            raise _error(error.failure, request) from None
        body = await self._exchange(request, connection, buffers)
        assert body is not None, "a new connection cannot be stale"
        return _response(body)

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.close()
        self._readiness.close()

    async def _exchange(
        self, request: httpx.Request, connection: Connection, buffers: list[Buffer]
    ) -> _Body | None:
        """Return the response with its head there, or None if the connection had gone stale."""
        body = _Body(request, connection)
        connection.start(
            list(buffers),
            body,
            bytes_max=self._limits.response_bytes_max,
            head_only=request.method == "HEAD",
        )
        try:
            await body.until_head()
        except httpx.TransportError:
            if body.failure is not None and body.failure.stale:
                return None
            raise
        except asyncio.CancelledError:
            connection.abort()
            raise
        return body

    def _pool(self, url: httpx.URL) -> ConnectionPool:
        secure = url.scheme == "https"
        origin = Origin(secure, url.host, url.port or (443 if secure else 80))
        pool = self._pools.get(origin)
        if pool is None:
            if len(self._pools) >= ORIGINS_MAX:
                raise httpx.PoolTimeout(f"over {ORIGINS_MAX} origins")
            context = client_context(self._ca_file, verify=True) if secure else None
            pool = ConnectionPool(
                origin=origin, context=context, readiness=self._readiness, limits=self._limits, proxy=None
            )
            self._pools[origin] = pool
        return pool


async def _buffers(request: httpx.Request) -> list[Buffer]:
    """Return a request as it goes over the wire."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    chunked = False
    for name, value in request.headers.raw:
        lines.append(b"%b: %b" % (name, value))
        chunked = chunked or (name.lower() == b"transfer-encoding" and value.lower() == b"chunked")
    buffers: list[Buffer] = [b"\r\n".join(lines) + b"\r\n\r\n"]
    assert isinstance(request.stream, httpx.AsyncByteStream)
    async for part in request.stream:
        if part:
            buffers += [b"%x\r\n" % len(part), part, b"\r\n"] if chunked else [part]
    if chunked:
        buffers.append(b"0\r\n\r\n")
    return buffers


def _response(body: _Body) -> httpx.Response:
    return httpx.Response(body.status, headers=body.headers, stream=body)


def _error(failure: Failure, request: httpx.Request) -> httpx.TransportError:
    return ERRORS[failure.kind](failure.detail, request=request)
