"""The proxy: clients accepted, relays counted, exchanges handed over to be written down."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from time import monotonic
from typing import Any, Protocol

from swarm.capture.exchange import Exchange, Outcome
from swarm.capture.framing import Head
from swarm.capture.page import status_page
from swarm.capture.relay import Relay
from swarm.capture.upstream import Upstream
from swarm.live.targets.transport.dial import tune
from swarm.live.targets.transport.readiness import Readiness, readiness

CONNECTIONS_MAX = 10_000
KEPT_BYTES_MAX = 1024**3
"""Of exchanges on their way; those that find no room pass, and are not read."""
BACKLOG = 4096
ACCEPT_AGAIN_S = 0.1
STOP_EVERY_S = 0.05
PAGE = b"/status"


class Sink(Protocol):
    """Who writes exchanges down."""

    told: dict[str, Any]
    dropped: int
    deaths: int

    def take(self, exchange: Exchange) -> None:
        """Take an exchange that is over; it must not block."""


class Proxy:
    """Relays between clients and one server; started and used within one event loop."""

    def __init__(self, *, upstream: Upstream, host: str, port: int, sink: Sink) -> None:
        self.upstream = upstream
        self.readiness: Readiness
        self._host = host
        self._port = port
        self._sink = sink
        self._listening: list[socket.socket] = []
        self._relays: dict[Relay, None] = {}
        self._kept_bytes = 0
        self._began_s = monotonic()
        self._outcomes: Counter[str] = Counter()
        self._passed = 0
        self._refused = 0
        self._connections = 0
        self._open_max = 0
        self._is_stopping = False

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        port: int = self._listening[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Begin to listen; raises OSError where the address cannot be listened on."""
        self.readiness = readiness()
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        port = self._port
        for family, _, _, _, address in dict.fromkeys(found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address[0], port, *address[2:]))
                sock.setblocking(False)
                sock.listen(BACKLOG)
            except OSError:
                sock.close()
                if not self._listening:
                    raise
                continue
            port = sock.getsockname()[1]
            self._listening.append(sock)
            self._listen(sock)

    async def stop(self, drain_s: float) -> None:
        """Take no more clients, let what is on its way arrive for so long, and close."""
        self._is_stopping = True
        listening, self._listening = self._listening, []
        for sock in listening:
            self.readiness.remove(sock.fileno())
            sock.close()
        until_s = monotonic() + drain_s
        for relay in list(self._relays):
            relay.stop()
        while any(not relay.is_idle for relay in self._relays) and monotonic() < until_s:
            await asyncio.sleep(STOP_EVERY_S)
        for relay in list(self._relays):
            relay.cut()
        self.readiness.close()

    def status(self) -> dict[str, Any]:
        """Return how things stand."""
        open_count = sum(not relay.is_idle for relay in self._relays)
        return {
            "upstream": self.upstream.shown,
            "up_s": round(monotonic() - self._began_s, 3),
            "connections": len(self._relays),
            "open_requests": open_count,
            "open_requests_max": max(self._open_max, open_count),
            "requests": sum(self._outcomes.values()),
            "passed": self._passed,
            "on_the_wire": dict(self._outcomes),
            "refused_connections": self._refused,
            "kept_bytes": self._kept_bytes,
            "dropped": self._sink.dropped,
            "scribe_deaths": self._sink.deaths,
            "written": self._sink.told,
        }

    # What relays call.

    def page(self, method: bytes, target: bytes, head: Head) -> bytes | None:
        """Return the status page to who asks for it."""
        if method != b"GET" or target.partition(b"?")[0] != PAGE:
            return None
        return status_page(self.status(), is_html=b"text/html" in head.get(b"accept"))

    def may_keep(self, size: int) -> bool:
        """Take room for bytes, if there is some."""
        if self._kept_bytes + size > KEPT_BYTES_MAX:
            return False
        self._kept_bytes += size
        return True

    def let_go(self, size: int) -> None:
        """Give room back."""
        self._kept_bytes -= size

    def over(self, exchange: Exchange | None, outcome: Outcome) -> None:
        """Count an exchange, and hand it over."""
        if exchange is None:
            self._passed += 1
            return
        self._outcomes[outcome] += 1
        self._sink.take(exchange)

    def left(self, relay: Relay) -> None:
        """Forget a relay."""
        self._relays.pop(relay, None)

    def _listen(self, sock: socket.socket) -> None:
        if not self._is_stopping:
            self.readiness.add(sock.fileno(), lambda: self._accept(sock))

    def _accept(self, listening: socket.socket) -> None:
        try:
            sock, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError as error:
            # No descriptors are left: those who wait are taken when some are.
            print(f"swarm: capture: a client has to wait: {error.strerror or error}", file=sys.stderr)
            self.readiness.remove(listening.fileno())
            asyncio.get_running_loop().call_later(ACCEPT_AGAIN_S, self._listen, listening)
            return
        if len(self._relays) >= CONNECTIONS_MAX:
            self._refused += 1
            sock.close()
            return
        tune(sock)
        self._connections += 1
        self._relays[Relay(self, sock)] = None
        self._open_max = max(self._open_max, len(self._relays))
