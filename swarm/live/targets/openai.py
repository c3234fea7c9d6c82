"""Any server that speaks one of OpenAI's APIs, or Anthropic's, as a target."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import quote

from swarm.config.base_url import base_url
from swarm.config.target import FailureClass, TargetConfig
from swarm.errors import ConfigError
from swarm.live.clock import sleep_until
from swarm.live.targets.body import body_writer
from swarm.live.targets.body_writer import BodyWriter
from swarm.live.targets.endpoints import ROUTINGS, UNHEALTHY, Endpoints
from swarm.live.targets.failure import Failure
from swarm.live.targets.reading.answer import Answer
from swarm.live.targets.reading.plain_shape import Learned
from swarm.live.targets.reading.usage import hold_against
from swarm.live.targets.redact import redactor
from swarm.live.targets.retry import asked_s
from swarm.live.targets.transport.connection import Connection
from swarm.live.targets.transport.dial import ConnectError, Origin
from swarm.live.targets.transport.pool import ConnectionPool
from swarm.live.targets.transport.proxy import proxy_of
from swarm.live.targets.transport.readiness import readiness
from swarm.live.targets.transport.timeouts import Watch
from swarm.live.targets.transport.tls import client_context
from swarm.live.targets.turn import Turn, TurnCut, TurnResult
from swarm.load.retry import retry_chance, wait_s

ANTHROPIC_VERSION = "2023-06-01"
"""Of the API, which Anthropic asks for with every request; the only one so far."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Endpoint:
    """One base URL. Its head holds the key, so it is never shown."""

    url: str
    pool: ConnectionPool
    head: bytes
    learned: Learned


class OpenAITarget:
    """Sends turns; made and used within one event loop."""

    def __init__(self, *, config: TargetConfig, seed: int, run_id: str | None = None) -> None:
        if not config.urls:
            raise ConfigError(
                "target.urls is empty: give the base URL of a server, such as http://127.0.0.1:8000"
            )
        if config.model is None:
            raise ConfigError("target.model is not known yet: resolve it from /v1/models first")
        self._config = config
        self._seed = seed
        self._key = api_key(config)
        self._redactor = redactor(config, self._key)
        self._writer: BodyWriter = body_writer(config, run_id)
        self._readiness = readiness()
        self._endpoints = [self._endpoint(url) for url in config.urls]
        self._routing = Endpoints(config.urls, weights=config.weights, health=config.health)
        self._pick = ROUTINGS[config.routing]
        timeouts = config.timeouts
        self._watch = Watch(min(timeouts.first_token_s, timeouts.between_tokens_s, timeouts.total_s))
        self._linger = self._watch.soon
        self._is_length_sent = "max_tokens" not in config.omit
        self._session_header = config.session_header.encode()
        self._parent_header = b"\r\n" + config.parent_header.encode() + b": "

    async def send(self, turn: Turn) -> TurnResult:
        """Carry out a turn, with its retries."""
        retry, routing = self._config.retry, self._routing
        several = len(self._endpoints) > 1
        place, chance = 0, None
        failed: list[int] = []
        result = TurnResult(attempts=1)
        try:
            while True:
                if several:
                    place = self._pick(routing, turn.session, monotonic(), failed)
                routing.begin(place)
                kind: FailureClass | None = None
                try:
                    failure, asked = await self._attempt(turn, self._endpoints[place], result)
                    kind = None if failure is None else failure.kind
                except Exception as fault:  # noqa: BLE001 - whatever it is, it ends this turn and nothing else
                    kind, asked = "malformed", None
                    failure = Failure(kind, f"the attempt failed: {type(fault).__name__}: {fault}")
                    result.completed_s = monotonic()
                finally:
                    routing.end(place, kind, monotonic())
                if failure is None:
                    return result
                result.outcome, result.error = failure.kind, self._redactor.shown(failure.detail)
                if chance is None:
                    chance = retry_chance(self._seed, turn.request_id)
                wait = wait_s(retry, failure.kind, attempt=result.attempts, asked_s=asked, chance=chance)
                if wait is None or result.first_token_s is not None:
                    return result
                if failure.kind in UNHEALTHY:
                    failed.append(place)
                due_s = monotonic() + wait
                result = _next(result, wait, due_s)
                await sleep_until(due_s)
        except asyncio.CancelledError:
            result.cut(monotonic())
            raise TurnCut(result) from None

    async def close(self) -> None:
        """Close every connection; turns still open end as failures."""
        self._watch.close()
        for endpoint in self._endpoints:
            endpoint.pool.close()
        self._readiness.close()

    async def _attempt(
        self, turn: Turn, endpoint: _Endpoint, result: TurnResult
    ) -> tuple[Failure | None, float | None]:
        """Fill in the result; return the failure if it is one, and the seconds that Retry-After asks for."""
        result.endpoint = endpoint.url
        connection = endpoint.pool.take_idle()
        if connection is not None:
            answer = await self._exchange(turn, endpoint, connection, result)
            if answer.failure is None or not answer.failure.stale:
                return answer.failure, self._asked_s(answer)
            result.reconnects += 1
            result.sent_s = None
        started = monotonic()
        try:
            connection = await endpoint.pool.dial(self._config.timeouts.connect_s)
        except ConnectError as error:
            result.completed_s = monotonic()
            result.connect_s = result.completed_s - started
            return error.failure, None
        result.connect_s = monotonic() - started
        answer = await self._exchange(turn, endpoint, connection, result)
        return answer.failure, self._asked_s(answer)

    async def _exchange(
        self, turn: Turn, endpoint: _Endpoint, connection: Connection, result: TurnResult
    ) -> Answer:
        answer = Answer(
            connection=connection,
            result=result,
            timeouts=self._config.timeouts,
            event_bytes_max=self._config.limits.event_bytes_max,
            api=self._config.api,
            keep_reply=turn.keep_reply,
            learned=endpoint.learned,
            linger=self._linger,
            on_first_token=turn.on_first_token,
        )
        body = self._writer.write(turn.prompt, turn.output_tokens)
        size = sum(map(len, body))
        connection.start(
            [self._head(turn, endpoint, size), *body], answer, bytes_max=self._bytes_max(turn.output_tokens)
        )
        result.sent_s = connection.sent_s
        del body
        self._watch.add(answer)
        try:
            await answer.waiter
        except BaseException:
            connection.abort()
            raise
        finally:
            self._watch.remove(answer)
            hold_against(result, turn.prompt.length, turn.output_tokens)
        return answer

    def _bytes_max(self, output_tokens: int) -> int:
        """Return the most that a reply may have; a server that is not told a length decides it itself."""
        limits = self._config.limits
        if not self._is_length_sent:
            return limits.response_bytes_max
        return min(
            limits.response_bytes_max,
            limits.reply_bytes_least + output_tokens * limits.reply_bytes_per_token,
        )

    def _head(self, turn: Turn, endpoint: _Endpoint, size: int) -> bytes:
        parent = b"" if turn.parent is None else self._parent_header + header_value(turn.parent)
        return b"%b%b: %b%b\r\nContent-Length: %d\r\n\r\n" % (
            endpoint.head,
            self._session_header,
            header_value(turn.agent),
            parent,
            size,
        )

    def _endpoint(self, url: str) -> _Endpoint:
        config = self._config
        place = base_url(url)
        origin = Origin(place.secure, place.host, place.port)
        context = client_context(config.ca_file, verify=config.verify) if origin.secure else None
        proxy = proxy_of(url, config.proxy)
        path = place.requests(self._writer.path, config.path)
        # A proxy is told the whole URL; through a tunnel the server itself is spoken to (RFC 9112 3.2.2).
        asked = None if place.secure else proxy
        lines = [
            b"POST %b HTTP/1.1" % (path if asked is None else place.origin + path).encode(),
            *([] if asked is None or not asked.authorization else [asked.header.rstrip()]),
            b"Host: " + origin.authority,
            b"User-Agent: swarm-emulator",
            b"Accept: text/event-stream",
            b"Accept-Encoding: identity",
            b"Content-Type: application/json",
            *(
                b"%b: %b" % (name.encode(), header_value(value))
                for name, value in own_headers(config).items()
            ),
            *(b"%b: %b" % (name.encode(), value.encode()) for name, value in key_header(config).items()),
        ]
        pool = ConnectionPool(
            origin=origin, context=context, readiness=self._readiness, limits=config.limits, proxy=proxy
        )
        return _Endpoint(url, pool, b"\r\n".join(lines) + b"\r\n", Learned())

    def _asked_s(self, answer: Answer) -> float | None:
        return None if answer.failure is None else asked_s(answer.headers, datetime.now(UTC))


def _next(result: TurnResult, wait_s: float, due_s: float) -> TurnResult:
    """Return the result of the attempt after a failed one, which is due when the wait is over."""
    return TurnResult(
        endpoint=result.endpoint,
        attempts=result.attempts + 1,
        reconnects=result.reconnects,
        retry_wait_s=result.retry_wait_s + wait_s,
        retry_due_s=due_s,
    )


def api_key(config: TargetConfig) -> str | None:
    """Return the key from the environment variable that the configuration names."""
    setting, name = "target.api_key_env", config.api_key_env
    if config.auth is not None:
        setting, name = "target.auth.env", config.auth.env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(f"{setting} names {name!r}, which is not set; export it first")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"the key in {name!r} holds characters that a header cannot")
    return key


def key_header(config: TargetConfig) -> dict[str, str]:
    """Return the header that holds the key, by name; none where there is no key."""
    key = api_key(config)
    if key is None:
        return {}
    header = "x-api-key" if config.api == "messages" else "Authorization"
    if config.auth is not None:
        header = config.auth.header
    return {header: f"Bearer {key}" if header.lower() == "authorization" else key}


def own_headers(config: TargetConfig) -> dict[str, str]:
    """Return the headers of every request beside the key: the API's, then those that the target states."""
    stated = {name.lower() for name in config.headers}
    needed = {"anthropic-version": ANTHROPIC_VERSION} if config.api == "messages" else {}
    return {name: value for name, value in needed.items() if name not in stated} | config.headers


def header_value(text: str) -> bytes:
    """Return text as a header's value; what a header cannot hold is percent-encoded."""
    return text.encode() if text.isascii() and text.isprintable() else quote(text).encode()
