"""Servers that do exactly what a test says, byte by byte, and targets that talk to them."""

import asyncio
import json
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.target import TargetConfig
from swarm.context.tree import Prompt, root
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

Script = Callable[["Peer"], Awaitable[None]]
DONE = b"data: [DONE]\n\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    """Which connection to this server it is, from 0."""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def request(self) -> tuple[bytes, bytes]:
        """Read one request; return its head and its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        body = await self.reader.readexactly(size)
        self.requests.append((head, body))
        return head, body

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def chunk(self, *parts: bytes) -> None:
        await self.send(*(b"%x\r\n%b\r\n" % (len(part), part) for part in parts))

    def reset(self) -> None:
        """Break the connection off with RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[SimpleNamespace]:
    """Serve every connection by `script`; the namespace has `url` and `peers`."""
    server_state = SimpleNamespace(peers=[])

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, len(server_state.peers))
        server_state.peers.append(peer)
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
    port = server.sockets[0].getsockname()[1]
    server_state.url = f"http{'s' if tls else ''}://{'localhost' if tls else '127.0.0.1'}:{port}"
    try:
        yield server_state
    finally:
        server.close()


def delta(text: str, **more: Any) -> bytes:
    """Return a chat event with some content."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}
    return b"data: " + json.dumps({"choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def usage(prompt: int, output: int, cached: int | None = None) -> bytes:
    """Return a usage event."""
    found: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output}
    if cached is not None:
        found["prompt_tokens_details"] = {"cached_tokens": cached}
    return b"data: " + json.dumps({"choices": [], "usage": found}).encode() + b"\n\n"


async def answer_well(peer: Peer) -> None:
    """Answer every request with two deltas and usage."""
    while True:
        await peer.request()
        await peer.send(SSE_HEAD)
        await peer.chunk(delta("a"), delta("b", finish_reason="stop"), usage(10, 2, 5), DONE)
        await peer.send(b"0\r\n\r\n")


def make_turn(prompt: Prompt | None = None, **changes: Any) -> Turn:
    settings = {
        "prompt": prompt or root("prompt").extend(32),
        "output_tokens": 2,
        "agent": "s1/0",
        "session": "s1",
        "parent": "s1",
        "request_id": "s1/0:0",
        "keep_reply": True,
    }
    return Turn(**{**settings, **changes})


@asynccontextmanager
async def targeting(*urls: str, **changes: Any) -> AsyncIterator[OpenAITarget]:
    """Give a target with short timeouts and retries."""
    settings: dict[str, Any] = {
        "urls": urls,
        "model": "m",
        "retry": {"attempts_max": 1},
        "timeouts": {"connect_s": 5, "first_token_s": 5, "between_tokens_s": 5, "total_s": 5},
    }
    target = OpenAITarget(config=TargetConfig.model_validate({**settings, **changes}), seed=1)
    try:
        yield target
    finally:
        await target.close()


def ask(script: Script, turn: Turn | None = None, **changes: Any) -> TurnResult:
    """Return what happened to one turn at a server with this script."""

    async def main() -> TurnResult:
        async with serving(script) as server, targeting(server.url, **changes) as target:
            return await asyncio.wait_for(target.send(turn or make_turn()), 20)

    return asyncio.run(main())


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(main(), 30)

    return asyncio.run(bounded())


@pytest.fixture
def lab() -> SimpleNamespace:
    """The tools of this file, by name."""
    return SimpleNamespace(
        DONE=DONE,
        SSE_HEAD=SSE_HEAD,
        answer_well=answer_well,
        ask=ask,
        delta=delta,
        make_turn=make_turn,
        run=run,
        serving=serving,
        targeting=targeting,
        usage=usage,
    )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    ask_for = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    about = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(
            [*ask_for, *about, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot make a certificate here: {error}")
    return certificate, key
