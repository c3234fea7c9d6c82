"""The provider: a socket in front of an emulated fleet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from time import monotonic

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FleetRequest
from swarm.provider.bodies import Identity
from swarm.provider.completion_request import READERS, Ask
from swarm.provider.connection import Connection, Request
from swarm.provider.counters import Meter
from swarm.provider.exchange import Answer
from swarm.provider.fingerprints import Fingerprints, tokens_of
from swarm.provider.fleet_loop import Driver
from swarm.provider.generated_text import reply_of
from swarm.provider.journal import FleetJournal
from swarm.provider.limits import LIMITS, ServerLimits
from swarm.provider.model_list import models
from swarm.provider.refusal import Fault
from swarm.provider.trie import ContentTrie

WATCH_S_MAX = 1.0
"""How often slow clients are looked for, at least."""
WATCHES_A_TIMEOUT = 5
BRANCHES_A_REQUEST = 3
"""Branches looked at with every request: it adds at most one, so what nobody holds is soon forgotten."""
SESSION_CHARACTERS_MAX = 256
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


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
        self._prints = Fingerprints(block_tokens=config.block_tokens)
        self._trie = ContentTrie(
            block_tokens=config.block_tokens, remembered_bytes_max=limits.remembered_bytes_max
        )
        self._meter = Meter()
        self._connections: dict[Connection, None] = {}
        self._driver: Driver | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._watch_s = min(WATCH_S_MAX, min(limits.head_s, limits.body_s) / WATCHES_A_TIMEOUT)
        self._started_unix_s = int(time.time())
        self._pages: dict[bytes, Callable[[Connection], None]] = {
            b"/health": self._tell_health,
            b"/metrics": lambda connection: connection.answer(
                200, self._meter.text(self._fleet, config.name), kind=METRICS_TYPE
            ),
            b"/v1/models": lambda connection: connection.answer(200, models(config, self._started_unix_s)),
        }

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
        server = await loop.create_server(lambda: Connection(self), self._host, self._port, backlog=4096)
        try:
            journal = None if self._journal is None else FleetJournal(self._journal, self._config)
        except BaseException:
            server.close()
            raise
        self._server = server
        self._driver = Driver(self._fleet, self._meter, journal)
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

    def joined(self, connection: Connection) -> bool:
        """Count a client in, if there is room."""
        if len(self._connections) >= self.limits.connections_max:
            return False
        self._connections[connection] = None
        return True

    def left(self, connection: Connection) -> None:
        """Count a client out."""
        self._connections.pop(connection, None)

    def handle(self, connection: Connection, request: Request) -> int | None:
        """Answer a request, now or later; return the number to cancel it by, if later."""
        try:
            return self._route(connection, request)
        except Fault as fault:
            connection.answer(fault.status, fault.body(), fault.headers())
            return None

    def cancel(self, number: int) -> None:
        """Nobody waits for a request any longer."""
        if self._driver is not None:
            self._driver.cancel(number)

    def _route(self, connection: Connection, request: Request) -> int | None:
        path = request.path
        reader, page = READERS.get(path), self._pages.get(path)
        if reader is None and page is None:
            raise Fault(404, f"no such path: {path[:100].decode(errors='replace')}")
        if self._key is not None and path.startswith(b"/v1/"):
            self._check_key(request)
        allowed = b"GET" if reader is None else b"POST"
        if request.method != allowed:
            raise Fault(405, f"{allowed.decode()} is expected here", allow=allowed)
        if page is not None:
            page(connection)
            return None
        assert reader is not None
        ask = reader(request.body(), self.limits)
        request.parts.clear()
        return self._submit(connection, ask, request.headers.get(b"x-session-id"))

    def _submit(self, connection: Connection, ask: Ask, session: bytes | None) -> int:
        driver = self._driver
        assert driver is not None
        number = driver.next_number()
        reply = reply_of(number, ask.output_tokens, is_ids=ask.is_ids)
        # The reply continues the prompt, so that a next prompt that repeats it finds what decoding made.
        prints = self._prints.of(b"".join((*ask.content, reply.content)))
        node = self._trie.place(b"ids" if ask.is_ids else b"text", prints)
        identity = Identity(f"{ask.shape}-{number}", int(time.time()), ask.model or self._config.name)
        prompt = Prompt(node, tokens_of(ask.content_bytes))
        is_too_long = prompt.length + ask.output_tokens > self._config.max_model_len
        answer = Answer(
            number=number,
            line=connection,
            ask=ask,
            reply=reply,
            identity=identity,
            refusal_code="context_length_exceeded" if is_too_long else None,
        )
        request = FleetRequest(
            request_id=number,
            session=_session(session, node.name),
            agent="",
            prompt=prompt,
            output_tokens=ask.output_tokens,
            echo=True,
        )
        driver.submit(request, answer)
        self._trie.forget(driver.held_tokens, BRANCHES_A_REQUEST)
        return number

    def _tell_health(self, connection: Connection) -> None:
        failure = None if self._driver is None else self._driver.failure
        if failure is None:
            connection.answer(200, b"{}")
        else:
            connection.answer(503, Fault(503, failure, code="fleet_broken").body())

    def _check_key(self, request: Request) -> None:
        given = request.headers.get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        assert self._key is not None
        # The key is compared in any case, so that the time tells nothing.
        if not compare_digest(key.strip(), self._key) or scheme.lower() != b"bearer":
            raise Fault(401, "a valid key is expected: Authorization: Bearer KEY", code="invalid_api_key")

    def _look(self) -> None:
        """Close connections whose clients are too slow."""
        now_s = monotonic()
        for connection in [each for each in self._connections if each.deadline_s < now_s]:
            connection.expire()
        self._watch = asyncio.get_running_loop().call_later(self._watch_s, self._look)


def _session(header: bytes | None, root: str) -> str:
    """Return what a router keeps together: what the client says, else where its content is in the tree.

    Of `session/child` only the session: sub-agents go where their session does, as in a simulation.
    """
    return root if header is None else header.partition(b"/")[0][:SESSION_CHARACTERS_MAX].decode("latin-1")
