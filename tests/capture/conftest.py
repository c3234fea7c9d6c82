"""A proxy in a thread or a loop of the test's own, and servers that say exactly what a test wants."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from swarm.capture.exchange import Exchange
from swarm.capture.proxy import Proxy
from swarm.capture.scribe import Scribe, ScribeSettings
from swarm.capture.upstream import Upstream

SALT = b"salt"


class Inline:
    """A scribe in the same process."""

    dropped = deaths = 0

    def __init__(self, folder: Path, **changes: Any) -> None:
        settings = {
            "folder": str(folder),
            "salt": SALT,
            "keeps_content": False,
            "began_unix_s": 1.0,
            "file_bytes_max": 1 << 26,
            "folder_bytes_max": 1 << 30,
        }
        self.scribe = Scribe(ScribeSettings(**(settings | changes)))
        self.exchanges: list[Exchange] = []

    @property
    def told(self) -> dict[str, Any]:
        return self.scribe.told()

    def take(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.scribe.take(Exchange.unpacked(b"".join(exchange.packed())))


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return all that a capture wrote."""
    files = sorted(folder.glob("*.jsonl"))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


@asynccontextmanager
async def capturing(folder: Path, upstream: str, **changes: Any) -> AsyncIterator[SimpleNamespace]:
    """Relay to a URL within this loop."""
    sink = Inline(folder, **changes)
    proxy = Proxy(upstream=Upstream(upstream, ca_file=None), host="127.0.0.1", port=0, sink=sink)
    await proxy.start()
    port = proxy.port
    try:
        yield SimpleNamespace(
            proxy=proxy,
            sink=sink,
            port=port,
            url=f"http://127.0.0.1:{port}",
            entries=lambda: entries(folder),
            raw=lambda *parts, **more: raw(port, *parts, **more),
        )
    finally:
        await proxy.stop(0.0)
        sink.scribe.close()


@contextmanager
def captured(folder: Path, upstream: str) -> Iterator[int]:
    """Relay to a URL from a thread; yield the port."""
    ready: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def relay() -> None:
        over = asyncio.Event()
        async with capturing(folder, upstream) as found:
            ready.put((found.port, asyncio.get_running_loop(), over))
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(relay()))
    thread.start()
    port, loop, over = ready.get(timeout=30)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def raw(port: int, *parts: bytes, ends: bool = False) -> bytes:
    """Return all bytes that come back until the proxy closes, having sent `parts`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[str]:
    """Serve each connection by a script; yield the URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one request of a stated length: its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head, await reader.readexactly(size)


def post(path: str, body: Any, *headers: str, closes: bool = True) -> bytes:
    """Return the bytes of a request."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", *headers]
    lines += ["Connection: close"] * closes
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def answer(body: bytes, *headers: str, status: int = 200, kind: str = "application/json") -> bytes:
    """Return the bytes of a response."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(main(), 60)

    return asyncio.run(bounded())


@pytest.fixture
def wire() -> SimpleNamespace:
    """The tools of this file, by name."""
    return SimpleNamespace(
        answer=answer,
        captured=captured,
        capturing=capturing,
        entries=entries,
        inline=Inline,
        post=post,
        raw=raw,
        request=request,
        run=run,
        upstream=upstream,
    )
