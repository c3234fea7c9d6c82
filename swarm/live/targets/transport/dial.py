"""New connections to one origin: its addresses looked up, tuned sockets, encryption."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from swarm.live.targets.failure import Failure
from swarm.live.targets.transport.proxy import Proxy, ProxyRefused, open_tunnel
from swarm.live.targets.transport.tls import TlsLayer

ADDRESS_KEPT_S = 30.0
"""Name lookups are remembered this long: a burst of connections is one lookup."""

_Address = tuple[socket.AddressFamily, Any]


class ConnectError(Exception):
    """No connection could be had."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections go: a scheme, a host and a port."""

    secure: bool
    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """Return the value of the Host header."""
        is_default = self.port == (443 if self.secure else 80)
        whole = self.whole_authority
        return whole.rpartition(b":")[0] if is_default else whole

    @property
    def whole_authority(self) -> bytes:
        """Return host and port, also where it is the default: what a proxy is asked for."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("idna" if not host.isascii() else "ascii")


class Dialler:
    """Opens sockets to an origin, or to the proxy before it; `context`: of its encryption, None: none."""

    def __init__(self, *, origin: Origin, context: ssl.SSLContext | None, proxy: Proxy | None) -> None:
        self._proxy = proxy
        self._dialled: Origin | Proxy = origin if proxy is None else proxy
        self._named = f"host {origin.host!r}" if proxy is None else f"proxy {proxy.url}"
        self._origin = origin
        self._context = context
        self._addresses: list[_Address] = []
        self._addresses_until_s = 0.0

    async def dial(self, timeout_s: float | None) -> tuple[socket.socket, TlsLayer | None]:
        """Return a connected socket and its encryption; raises `ConnectError`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connect()
        except TimeoutError:
            raise ConnectError(Failure("timeout_connect", f"no connection within {timeout_s:g} s")) from None

    async def _resolve(self) -> list[_Address]:
        if monotonic() >= self._addresses_until_s:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self._dialled.host, self._dialled.port, type=socket.SOCK_STREAM)
            self._addresses = [(family, address) for family, _, _, _, address in found]
            self._addresses_until_s = monotonic() + ADDRESS_KEPT_S
        return self._addresses

    async def _connect(self) -> tuple[socket.socket, TlsLayer | None]:
        loop = asyncio.get_running_loop()
        try:
            addresses: Sequence[_Address] = await self._resolve()
        except (OSError, UnicodeError) as error:
            # A name may have parts that are too long to be one.
            words = getattr(error, "strerror", None) or f"{error}"
            raise ConnectError(Failure("unreachable", f"{self._named}: {words}")) from None
        problem = Failure("unreachable", f"{self._named} has no address")
        for family, address in addresses:
            sock = None
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
                tune(sock)
                await loop.sock_connect(sock, address)
                tls = None
                if self._context is not None:
                    if self._proxy is not None:
                        await open_tunnel(sock, self._proxy, self._origin.whole_authority)
                    tls = TlsLayer(self._context, self._origin.host)
                    await tls.handshake(sock)
                return sock, tls
            except OSError as error:
                problem = _failure_of(error, self._proxy)
                if sock is not None:
                    sock.close()
            except BaseException:
                if sock is not None:
                    sock.close()
                raise
        # The lookup may have been the fault.
        self._addresses_until_s = 0.0
        raise ConnectError(problem)


def tune(sock: socket.socket) -> None:
    """Set what a connection to a server, or from a client, needs."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Probes keep translators and balancers from forgetting a connection during minutes of think time.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        with suppress(AttributeError, OSError):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _failure_of(error: OSError, proxy: Proxy | None) -> Failure:
    detail = f"{type(error).__name__}: {error.strerror or error}"
    if proxy is not None and not isinstance(error, ssl.SSLError):
        detail = f"proxy {proxy.url}: {detail}"
    if isinstance(error, ProxyRefused):
        return Failure("unreachable", detail)
    if isinstance(error, ssl.SSLError):
        return Failure("tls", f"handshake: {getattr(error, 'verify_message', '') or error.reason or error}")
    if isinstance(error, ConnectionRefusedError):
        return Failure("refused", detail)
    if isinstance(error, ConnectionError):
        return Failure("reset", detail)
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM):
        return Failure("client_limit", detail)
    if error.errno == errno.ETIMEDOUT:
        return Failure("timeout_connect", detail)
    return Failure("unreachable", detail)
