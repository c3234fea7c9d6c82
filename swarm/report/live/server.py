"""The only door to the web server: a page of something that goes on, behind a token and a check of the host.

The state is made once for all who look. Each of them is sent the newest one when the one before has left: for
a browser that sleeps one state waits, and the socket's buffer. It misses what was in between.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from swarm.report.live.charts import live_charts
from swarm.report.live.going import Going
from swarm.report.live.page import live_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

EVERY_S = 1.0
SHARE_MAX = 0.1
"""Of a core, for reading and drawing: a state that takes long to make is made more seldom."""
CHARTS_EVERY_S = 2.0
NOTES_SHOWN = 30
VIEWERS_MAX = 32
"""At once; more are turned away."""
CONNECTIONS_MAX = 96
"""Of all kinds."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # The charts' library makes functions of expressions, which needs 'unsafe-eval'.
    "content-security-policy": (
        "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    ),
}
Scope = dict[str, Any]
Channel = Callable[..., Awaitable[Any]]


class Guard:
    """Lets through only who has the token, and asks this host by a name of its own (against rebinding)."""

    def __init__(self, app: Channel, *, token: str, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Answer 400 or 403, or let the request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse

        request = Request(scope)
        if _host_of(request.headers.get("host", "")) not in self._hosts:
            refusal = PlainTextResponse("this page is not for that host name", 400, HEADERS)
            await refusal(scope, receive, send)
            return
        given = request.query_params.get("token", "") or _bearer(request.headers.get("authorization", ""))
        if not hmac.compare_digest(given.encode(), self._token):
            refusal = PlainTextResponse(
                "a token is needed: open the URL that was printed, whole", 403, HEADERS
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


@dataclass
class Publisher:
    """Reads the state every second while somebody looks, and has the newest one for all of them."""

    going: Going
    newest: bytes = b""
    number: int = 0
    watchers: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    has_ended: bool = False
    cost_s: float = 0.0
    """CPU time that the newest state took."""
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _charts: dict[str, Any] = field(default_factory=dict)
    _charts_s: float = -1e9

    async def publish(self) -> None:
        """Take in what is new, once."""
        async with self._reading:
            data, ended = await asyncio.to_thread(self._state)
        async with self.changed:
            self.newest, self.number, self.has_ended = data, self.number + 1, ended
            self.changed.notify_all()

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the newest state whenever there is another one, until the end."""
        self.watchers += 1
        seen = -1
        try:
            while True:
                async with self.changed:
                    while self.number == seen or not self.newest:
                        await self.changed.wait()
                    data, seen, is_last = self.newest, self.number, self.has_ended
                yield b"data: " + data + b"\n\n"
                if is_last:
                    return
        finally:
            self.watchers -= 1

    def _state(self) -> tuple[bytes, bool]:
        began_s = time.thread_time()
        going = self.going
        going.read()
        windows = going.over_time()
        head = going.head(windows)
        is_over = going.has_ended or going.is_gone or going.is_cut
        now_s = time.monotonic()
        if self.watchers and (is_over or now_s - self._charts_s >= CHARTS_EVERY_S):
            self._charts, self._charts_s = live_charts(going, windows), now_s
        said = {
            "head": head,
            "notes": going.notes[: -NOTES_SHOWN - 1 : -1],
            "agents": going.doings.listed(going.now_s),
            "charts": self._charts,
        }
        data = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
        self.cost_s = time.thread_time() - began_s
        return data, is_over


def app_of(publisher: Publisher, *, token: str, hosts: tuple[str, ...]) -> Guard:
    """Return the web application: `/`, `/events`, `/state`, `/report`, and `/stop` by POST."""
    from starlette.applications import Starlette
    from starlette.responses import (
        FileResponse,
        HTMLResponse,
        PlainTextResponse,
        StreamingResponse,
    )
    from starlette.responses import (
        Response as Plain,
    )
    from starlette.routing import Route

    async def home(_: Request) -> Response:
        return HTMLResponse(await asyncio.to_thread(live_page, publisher.going.name), headers=HEADERS)

    async def events(_: Request) -> Response:
        if publisher.watchers >= VIEWERS_MAX:
            return PlainTextResponse(f"{VIEWERS_MAX} look already, as many as may", 503, HEADERS)
        headers = {**HEADERS, "x-accel-buffering": "no"}
        return StreamingResponse(publisher.events(), media_type="text/event-stream", headers=headers)

    async def state(_: Request) -> Response:
        if not publisher.newest:
            await publisher.publish()
        return Plain(publisher.newest, media_type="application/json", headers=HEADERS)

    async def stop(_: Request) -> Response:
        is_asked = publisher.going.course.ask_stop()
        words = "no more turns are started" if is_asked else "nothing goes on here"
        return PlainTextResponse(words, 202 if is_asked else 409, HEADERS)

    async def report(_: Request) -> Response:
        path = publisher.going.report
        if path is None:
            return PlainTextResponse("there is no report yet", 404, HEADERS)
        return FileResponse(path, media_type="text/html", headers=HEADERS)

    routes = [
        Route("/", home),
        Route("/events", events),
        Route("/state", state),
        Route("/stop", stop, methods=["POST"]),
        Route("/report", report),
    ]
    return Guard(Starlette(routes=routes), token=token, hosts=hosts)


async def serve_page(
    going: Going,
    *,
    address: str,
    port: int,
    token: str,
    hosts: tuple[str, ...],
    opened: Callable[[str], None],
    may_end: Callable[[Publisher], bool],
    every_s: float,
) -> None:
    """Serve the page until `may_end` says so, or a signal comes; `opened` is told its URL.

    The state is read every `every_s` seconds, more seldom where that takes `SHARE_MAX` of a core.

    Raises:
        OSError: The address cannot be listened on.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family)
    shown = f"[{address}]" if ":" in address else address
    publisher = Publisher(going)
    app = app_of(publisher, token=token, hosts=(*LOOPBACK, address, *hosts))
    config = uvicorn.Config(
        app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1,
        limit_concurrency=CONNECTIONS_MAX,
    )  # fmt: skip
    server = uvicorn.Server(config)
    await publisher.publish()
    opened(f"http://{shown}:{listener.getsockname()[1]}/?token={token}")
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not serving.done():
        await asyncio.wait([serving], timeout=max(every_s, publisher.cost_s / SHARE_MAX))
        if not publisher.has_ended:
            await publisher.publish()
        if may_end(publisher):
            server.should_exit = True
    # It raises the signal that has ended it once more, in its own task.
    with suppress(SystemExit, KeyboardInterrupt):
        await serving


def _host_of(header: str) -> str:
    """Return the host of a Host header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.rpartition(":")[0].lower() if ":" in header else header.lower()


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
