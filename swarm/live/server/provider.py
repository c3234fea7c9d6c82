"""The provider: a socket in front of an emulated fleet."""

from __future__ import annotations

import asyncio
import time
from time import monotonic

import orjson

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FleetRequest
from swarm.live.server.answer import Answer
from swarm.live.server.ask import READERS
from swarm.live.server.connection import Connection, Request
from swarm.live.server.content import Fingerprints, tokens_of
from swarm.live.server.driver import Driver
from swarm.live.server.fault import Fault
from swarm.live.server.limits import LIMITS, ServerLimits
from swarm.live.server.reply import reply_of
from swarm.live.server.shape import Identity
from swarm.live.server.trie import ContentTrie

WATCH_S = 1.0
"""How often slow clients are looked for."""


class Provider:
    """Serves one fleet; made and used within one event loop."""

    def __init__(self, config: FleetConfig, *, host: str, port: int, limits: ServerLimits = LIMITS) -> None:
        self.limits = limits
        self._config = config
        self._host = host
        self._port = port
        self._fleet = build_fleet(config)
        self._prints = Fingerprints(block_tokens=config.block_tokens)
        self._trie = ContentTrie(block_tokens=config.block_tokens)
        self._connections: dict[Connection, None] = {}
        self._driver: Driver | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._started_unix_s = int(time.time())

    @property
    def port(self) -> int:
        """The port that it listens on, once started."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._driver = Driver(self._fleet)
        self._server = await loop.create_server(
            lambda: Connection(self), self._host, self._port, backlog=4096
        )
        self._look()

    async def close(self) -> None:
        """Close the socket and every connection."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._watch is not None:
            self._watch.cancel()
        assert self._driver is not None
        self._driver.close()
        await self._server.wait_closed()

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
        """Answer a request, now or later."""
        try:
            return self._route(connection, request)
        except Fault as fault:
            connection.answer(fault.status, fault.body(), fault.headers())
            return None

    def cancel(self, number: int) -> None:
        """Nobody waits for a request any longer."""
        assert self._driver is not None
        self._driver.cancel(number)

    def _route(self, connection: Connection, request: Request) -> int | None:
        reader = READERS.get(request.path)
        if reader is None:
            if request.path == b"/health":
                connection.answer(200, b"{}")
            elif request.path == b"/v1/models":
                connection.answer(200, self._models())
            else:
                raise Fault(404, f"no such path: {request.path[:100].decode(errors='replace')}")
            return None
        if request.method != b"POST":
            raise Fault(405, "POST is expected here")
        ask = reader(request.body(), self.limits)
        request.parts.clear()
        assert self._driver is not None
        number = self._driver.next_number()
        reply = reply_of(number, ask.output_tokens, is_ids=ask.is_ids)
        prints = self._prints.of(ask.content + reply.content)
        node = self._trie.place(b"ids" if ask.is_ids else b"text", prints)
        session = request.headers.get(b"x-session-id")
        identity = Identity(f"{ask.shape}-{number}", self._started_unix_s, ask.model or self._config.name)
        answer = Answer(number=number, line=connection, ask=ask, reply=reply, identity=identity)
        self._driver.submit(
            FleetRequest(
                request_id=number,
                session=node.name if session is None else session.decode("latin-1"),
                agent="",
                prompt=Prompt(node, tokens_of(len(ask.content))),
                output_tokens=ask.output_tokens,
                echo=True,
            ),
            answer,
        )
        return number

    def _models(self) -> bytes:
        config = self._config
        return orjson.dumps(
            {
                "object": "list",
                "data": [
                    {
                        "id": config.name,
                        "object": "model",
                        "created": self._started_unix_s,
                        "owned_by": "swarm",
                        "max_model_len": config.max_model_len,
                        "block_size": config.block_tokens,
                        "tokenizer": {
                            "text": "4 bytes of UTF-8 a token",
                            "ids": "an id is one token",
                            "chat_overhead_tokens": 0,
                        },
                    }
                ],
            }
        )

    def _look(self) -> None:
        """Close connections whose clients are too slow."""
        now_s = monotonic()
        for connection in [each for each in self._connections if each.deadline_s < now_s]:
            connection.expire()
        self._watch = asyncio.get_running_loop().call_later(WATCH_S, self._look)
