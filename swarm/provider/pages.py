"""The server's paths that make no reply: its state, its models, its tokenizer, what was answered before."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from urllib.parse import unquote_to_bytes

import orjson

from swarm.config.fleet import FleetConfig
from swarm.fleet.fleet import Fleet
from swarm.provider.apis.api import Rules
from swarm.provider.apis.messages import read_count
from swarm.provider.apis.models import Models
from swarm.provider.apis.tokenizer import detokenize, tokenize
from swarm.provider.connection import ClientConnection, Request
from swarm.provider.fleet_loop import FleetLoop
from swarm.provider.kept_answers import KeptAnswers
from swarm.provider.metrics.page import Meter
from swarm.provider.refusal import Fault

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
MODEL, RESPONSE = b"/v1/models/", b"/v1/responses/"
Page = Callable[[ClientConnection, Request], None]


class Pages:
    """Answers what is no request for the model."""

    def __init__(
        self,
        *,
        config: FleetConfig,
        driver: FleetLoop,
        fleet: Fleet,
        meter: Meter,
        models: Models,
        past: KeptAnswers,
        rules: Rules,
    ) -> None:
        self._config = config
        self._driver = driver
        self._fleet = fleet
        self._meter = meter
        self._models = models
        self._past = past
        self._rules = rules
        context_tokens = int(min(fleet.context_tokens, 2**62))
        self._pages: dict[bytes, dict[bytes, Page]] = {
            b"/health": {b"GET": self._health},
            b"/ping": {b"GET": self._health, b"POST": self._health},
            b"/metrics": {b"GET": lambda line, _: line.answer(200, meter.text(), kind=METRICS_TYPE)},
            b"/load": {b"GET": lambda line, _: line.answer(200, b'{"server_load":%d}' % driver.open_count)},
            b"/version": {b"GET": lambda line, _: line.answer(200, _version())},
            b"/v1/models": {b"GET": lambda line, _: line.answer(200, models.list())},
            b"/reset_prefix_cache": {b"POST": self._reset},
            b"/tokenize": {
                b"POST": lambda line, asked: line.answer(
                    200, tokenize(self._body(asked), rules, context_tokens)
                )
            },
            b"/detokenize": {
                b"POST": lambda line, asked: line.answer(200, detokenize(self._body(asked), rules))
            },
            b"/v1/messages/count_tokens": {
                b"POST": lambda line, asked: line.answer(200, read_count(self._body(asked), rules))
            },
        }

    def answer(self, connection: ClientConnection, request: Request) -> None:
        """Answer a request; raises `Fault`."""
        methods = self._pages.get(request.path) or self._named(request.path)
        if methods is None:
            raise Fault(404, f"no such path: {request.path[:100].decode(errors='replace')}")
        page = methods.get(b"GET" if request.method == b"HEAD" else request.method)
        if page is None:
            names = [*methods, *([b"HEAD"] if b"GET" in methods else []), b"OPTIONS"]
            expected = " or ".join(name.decode() for name in methods)
            raise Fault(405, f"{expected} is expected here", allow=b", ".join(names))
        page(connection, request)

    def _named(self, path: bytes) -> dict[bytes, Page] | None:
        """Return what answers a path that ends with a name."""
        if path.startswith(MODEL):
            name = unquote_to_bytes(path[len(MODEL) :]).decode(errors="replace")
            return {b"GET": lambda line, _: line.answer(200, self._models.one(name))}
        if path.startswith(RESPONSE):
            name = path[len(RESPONSE) :].decode(errors="replace")
            return {
                b"GET": lambda line, _: line.answer(200, self._past.find(name).body),
                b"DELETE": lambda line, _: self._forget(line, name),
            }
        return None

    def _body(self, request: Request) -> bytes:
        return request.body(self._rules.limits.body_bytes_max)

    def _health(self, connection: ClientConnection, request: Request) -> None:
        failure = self._driver.failure
        if failure is not None:
            connection.answer(503, Fault(503, failure, code="fleet_broken").body())
            return
        late_s, most_s = self._meter.lateness_s, self._config.serving.lateness_s_max
        if late_s <= most_s:
            connection.answer(200, b"{}")
            return
        warning = (
            f"events are sent up to {late_s:.3f} s late (p99), over {most_s:g} s: do not trust latencies; "
            "give the emulator a core of its own, or fewer requests"
        )
        connection.answer(200, orjson.dumps({"warning": warning, "lateness_s_p99": late_s}))

    def _reset(self, connection: ClientConnection, request: Request) -> None:
        """Let every memory go of what no request is using."""
        self._driver.clear_caches()
        connection.answer(200, b"")

    def _forget(self, connection: ClientConnection, name: str) -> None:
        self._past.forget(name)
        connection.answer(200, orjson.dumps({"id": name, "object": "response", "deleted": True}))


def _version() -> bytes:
    return orjson.dumps({"version": version("swarm-emulator")})
