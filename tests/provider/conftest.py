"""Providers on free ports, clients that are not ours, and sockets that say exactly what a test wants."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from queue import Queue
from threading import Thread
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from swarm.config.fleet import FleetConfig
from swarm.provider.limits import LIMITS
from swarm.provider.server import Provider

FAST = {
    "kind": "simple",
    "prefill_tokens_per_s": 1e9,
    "decode_base_s": 1e-5,
    "kv_bytes_per_token": 1.0,
    "kv_capacity_tokens": 1_000_000,
}


def fleet(*, cost: dict[str, Any] | None = None, **changes: Any) -> FleetConfig:
    """Return a fleet so fast that no test waits for it."""
    settings = {"block_tokens": 4, "cost": {**FAST, **(cost or {})}, **changes}
    return FleetConfig.model_validate(settings)


@asynccontextmanager
async def serving(
    config: FleetConfig | None = None, *, key: str | None = None, journal: Path | None = None, **limits: Any
) -> AsyncIterator[SimpleNamespace]:
    """Serve; the namespace has the provider, its `url`, an httpx `client` and `raw` for bytes."""
    provider = Provider(
        config or fleet(),
        host="127.0.0.1",
        port=0,
        key=key,
        journal=journal,
        limits=replace(LIMITS, **limits),
    )
    await provider.start()
    url = f"http://127.0.0.1:{provider.port}"

    async def raw(*parts: bytes) -> bytes:
        """Return all bytes that come back until the server closes, having sent `parts`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    try:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield SimpleNamespace(provider=provider, url=url, client=client, raw=raw)
    finally:
        await provider.close()


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(main(), 60)

    return asyncio.run(bounded())


def events(text: str) -> list[dict[str, Any]]:
    """Return a stream's events; the last one must be [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def request(path: str, body: bytes, *headers: bytes) -> bytes:
    """Return a request that asks for the connection to be closed."""
    lines = [
        b"POST %b HTTP/1.1" % path.encode(),
        b"Host: x",
        b"Connection: close",
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body


def exchange(port: int, parts: list[bytes], *, ends: bool) -> bytes:
    """Return all bytes that come back until the server closes, having sent `parts` and, if so, an end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts:
                sock.sendall(part)
            if ends:
                sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(1 << 16):
                answer += data
        except OSError:
            pass  # The server closed first, which is its good right.
    return answer


@pytest.fixture(scope="module")
def standing() -> Iterator[SimpleNamespace]:
    """A server in a thread of its own, for tests with many examples."""
    config = fleet(serving={"output_tokens": {"median": 4, "sigma": 0}})
    ready: Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def main() -> None:
        provider = Provider(config, host="127.0.0.1", port=0)
        await provider.start()
        stop = asyncio.Event()
        ready.put((provider.port, asyncio.get_running_loop(), stop))
        await stop.wait()
        await provider.close()

    thread = Thread(target=lambda: asyncio.run(main()))
    thread.start()
    port, loop, stop = ready.get(timeout=20)
    yield SimpleNamespace(
        exchange=lambda *parts, ends=False: exchange(port, list(parts), ends=ends), request=request
    )
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


@pytest.fixture
def desk() -> SimpleNamespace:
    """The tools of this file, by name."""
    return SimpleNamespace(serving=serving, fleet=fleet, run=run, events=events, request=request)
