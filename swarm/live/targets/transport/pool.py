"""Connections to one origin: the last one used is the first one reused, found and removed in O(1)."""

from __future__ import annotations

import ssl

from swarm.config.target import LimitConfig
from swarm.live.targets.failure import Failure
from swarm.live.targets.transport.connection import Connection
from swarm.live.targets.transport.dial import ConnectError, Dialler, Origin
from swarm.live.targets.transport.proxy import Proxy
from swarm.live.targets.transport.readiness import Readiness


class ConnectionPool:
    """The open connections to one origin, idle and in use."""

    def __init__(
        self,
        *,
        origin: Origin,
        context: ssl.SSLContext | None,
        readiness: Readiness,
        limits: LimitConfig,
        proxy: Proxy | None,
    ) -> None:
        self._dialler = Dialler(origin=origin, context=context, proxy=proxy)
        self._readiness = readiness
        self._limits = limits
        # A dict keeps insertion order: popitem() takes the youngest, and any member can leave in O(1).
        self._idle: dict[Connection, None] = {}
        self._open: dict[Connection, None] = {}
        self._dialling = 0

    @property
    def idle_count(self) -> int:
        """Return how many connections wait for a request."""
        return len(self._idle)

    @property
    def open_count(self) -> int:
        """Return how many connections exist."""
        return len(self._open)

    def take_idle(self) -> Connection | None:
        """Return the connection that became idle last, if there is one."""
        return self._idle.popitem()[0] if self._idle else None

    async def dial(self, timeout_s: float | None) -> Connection:
        """Return a new connection; raises `ConnectError`."""
        if len(self._open) + self._dialling >= self._limits.connections_max:
            found = f"{len(self._open)} connections are open"
            raise ConnectError(Failure("client_limit", f"{found}; raise target.limits.connections_max"))
        self._dialling += 1
        try:
            sock, tls = await self._dialler.dial(timeout_s)
        finally:
            self._dialling -= 1
        connection = Connection(
            sock=sock,
            tls=tls,
            readiness=self._readiness,
            limits=self._limits,
            on_idle=self._became_idle,
            on_closed=self._was_closed,
        )
        self._open[connection] = None
        return connection

    def close(self) -> None:
        """Close every connection; responses in flight end as failures."""
        for connection in list(self._open):
            connection.fail(Failure("reset", "the client closed the connection"))

    def _became_idle(self, connection: Connection) -> None:
        if len(self._idle) >= self._limits.idle_connections_max:
            connection.abort()
        else:
            self._idle[connection] = None

    def _was_closed(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.pop(connection, None)
