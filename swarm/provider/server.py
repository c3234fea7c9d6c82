"""The provider: a socket in front of an emulated fleet."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from hmac import compare_digest
from pathlib import Path
from time import monotonic

from swarm.config.fleet import FleetConfig
from swarm.fleet.build import build_fleet
from swarm.provider.apis.api import Rules
from swarm.provider.apis.models import Models
from swarm.provider.apis.table import APIS
from swarm.provider.connection import Cancel, ClientConnection, Request
from swarm.provider.desk import Desk
from swarm.provider.fleet_loop import FleetLoop
from swarm.provider.journal import FleetJournal
from swarm.provider.kept_answers import KeptAnswers
from swarm.provider.limits import LIMITS, ServerLimits
from swarm.provider.metrics.page import Meter
from swarm.provider.pages import Pages
from swarm.provider.refusal import Fault, Style
from swarm.provider.tokens import tokenizer_of

WATCH_S_MAX = 1.0
"""How often slow clients are looked for, at least."""
WATCHES_A_TIMEOUT = 5


class Provider:
    """Serves one fleet; started and used within one event loop."""

    def __init__(
        self,
        config: FleetConfig,
        *,
        host: str,
        port: int,
        key: str | None = None,
        journal: Path | None = None,
        limits: ServerLimits = LIMITS,
    ) -> None:
        self.limits = limits
        self._config = config
        self._host = host
        self._port = port
        self._key = None if key is None else key.encode()
        self._journal = journal
        self._fleet = build_fleet(config)
        self._meter = Meter(self._fleet, config)
        self._past = KeptAnswers(limits.kept_bytes_max)
        context_tokens = int(min(self._fleet.context_tokens, 2**62))
        self._models = Models(config, context_tokens=context_tokens, created_unix_s=int(time.time()))
        self._tokenizer = tokenizer_of(config.serving.tokenizer)
        serving = config.serving
        self._rules = Rules(
            limits, serving.chat_template_tokens, self._past, self._tokenizer, serving.cacheable_least
        )
        self._connections: dict[ClientConnection, None] = {}
        self._driver: FleetLoop | None = None
        self._desk: Desk | None = None
        self._pages: Pages | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._watch_s = min(WATCH_S_MAX, min(limits.head_s, limits.body_s) / WATCHES_A_TIMEOUT)

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The address cannot be listened on.
            RunError: The journal cannot be written.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: ClientConnection(self), self._host, self._port, backlog=4096
        )
        try:
            journal = None if self._journal is None else FleetJournal(self._journal, self._config)
        except BaseException:
            server.close()
            raise
        self._server = server
        driver = self._driver = FleetLoop(self._fleet, self._meter, journal)
        self._desk = Desk(
            self._fleet,
            self._config,
            driver=driver,
            models=self._models,
            limits=self.limits,
            past=self._past,
            tokenizer=self._tokenizer,
        )
        self._pages = Pages(
            config=self._config,
            driver=driver,
            fleet=self._fleet,
            meter=self._meter,
            models=self._models,
            past=self._past,
            rules=self._rules,
        )
        self._look()

    async def close(self) -> None:
        """Close the socket and every connection."""
        if self._server is None or self._driver is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._watch is not None:
            self._watch.cancel()
        await self._server.wait_closed()
        # Connections that are lost now give their requests up, which the journal is to tell.
        await asyncio.sleep(0)
        self._driver.close()
        self._driver = None

    # What connections call.

    def joined(self, connection: ClientConnection) -> bool:
        """Count a client in, if there is room."""
        if len(self._connections) >= self.limits.connections_max:
            return False
        self._connections[connection] = None
        return True

    def left(self, connection: ClientConnection) -> None:
        """Count a client out."""
        self._connections.pop(connection, None)

    def answered(self, request: Request, status: int) -> None:
        """Count an answer."""
        self._meter.answered(request.path, request.method, status)

    def handle(self, connection: ClientConnection, request: Request) -> Cancel | None:
        """Answer a request, now or later; return how to give it up, if later."""
        try:
            return self._route(connection, request)
        except Fault as fault:
            connection.answer(fault.status, fault.body(_style(request.path), request.number), fault.headers())
        except Exception as error:  # noqa: BLE001 - whatever a request trips over is told, and ends it alone
            traceback.print_exception(error, file=sys.stderr)
            told = Fault(500, f"the emulator failed: {type(error).__name__}", code="emulator_failed")
            connection.answer(500, told.body(_style(request.path), request.number))
        return None

    def _route(self, connection: ClientConnection, request: Request) -> Cancel | None:
        assert self._pages is not None and self._desk is not None
        path, method = request.path, request.method
        if method == b"OPTIONS":
            connection.allow()
            return None
        if self._key is not None and path.startswith(b"/v1/"):
            self._check_key(request)
        api = APIS.get(path)
        if api is None:
            self._pages.answer(connection, request)
            return None
        if method != b"POST":
            raise Fault(405, "POST is expected here", allow=b"POST, OPTIONS")
        headers = request.headers
        ask = api.read(request.body(self.limits.body_bytes_max), self._rules)
        return self._desk.submit(connection, api, ask, headers.get(b"x-session-id"), request.came_s)

    def _check_key(self, request: Request) -> None:
        given = request.headers.get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        assert self._key is not None
        # Anthropic's clients have a header of their own. All is compared, so that the time tells nothing.
        is_bearer = compare_digest(key.strip(), self._key) and scheme.lower() == b"bearer"
        if not (compare_digest(request.headers.get(b"x-api-key", b""), self._key) or is_bearer):
            raise Fault(401, "a valid key is expected: Authorization: Bearer KEY", code="invalid_api_key")

    def _look(self) -> None:
        """Close connections whose clients are too slow."""
        now_s = monotonic()
        for connection in [each for each in self._connections if each.deadline_s < now_s]:
            connection.expire()
        self._watch = asyncio.get_running_loop().call_later(self._watch_s, self._look)


def _style(path: bytes) -> Style:
    return "anthropic" if path.startswith(b"/v1/messages") else "openai"
