"""An HTTP server that answers as a test says, in a thread of its own; and OpenAI's shapes of answers."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    path: str
    """With its query; a whole URL where a proxy is asked."""
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        """The body's JSON object."""
        found: dict[str, Any] = json.loads(self.body or b"{}")
        return found


TLS_RECORD = b"\x16"
"""The first byte of a client that speaks TLS."""
Script = Callable[[Asked], bytes]
"""The response's bytes, whole; empty: none, and the connection stays open."""


def reply(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    """Return a response."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def listed(*models: str, **facts: Any) -> bytes:
    """Return a list of models."""
    data = [{"id": model, "object": "model", **facts} for model in models]
    return reply("200 OK", json.dumps({"object": "list", "data": data}).encode())


def refused(status: str, words: str) -> bytes:
    """Return an error in OpenAI's shape."""
    return reply(status, json.dumps({"error": {"message": words}}).encode())


def streamed(asked: Asked, *, usage: bool = True, member: str = "max_tokens") -> bytes:
    """Return a chat or text reply of as many tokens as were asked for; a prompt's token is four bytes."""
    count = int(asked.data.get(member, 4))
    is_chat = "messages" in asked.data
    events = []
    for k in range(count):
        finish = "length" if k == count - 1 else None
        part = {"delta": {"content": "a "}} if is_chat else {"text": "a "}
        events.append({"choices": [{"index": 0, **part, "finish_reason": finish}]})
    if usage:
        tokens = len(asked.body) // 4
        events.append({"choices": [], "usage": {"prompt_tokens": tokens, "completion_tokens": count}})
    text = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return reply("200 OK", text + b"data: [DONE]\n\n", "text/event-stream")


@contextmanager
def scripted(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer every request by the script; yield the server's origin."""
    ready: list[int] = []
    begun, over = threading.Event(), threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                first = await reader.readexactly(1)
                if first == TLS_RECORD:
                    writer.write(reply("400 Bad Request", b"no HTTP"))
                    break
                writer.write(script(await _asked(reader, first)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
        ready.append(listening.sockets[0].getsockname()[1])
        begun.set()
        while not over.is_set():
            await asyncio.sleep(0.01)
        listening.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    begun.wait(10)
    try:
        yield f"https://localhost:{ready[0]}" if tls else f"http://127.0.0.1:{ready[0]}"
    finally:
        over.set()
        thread.join(10)


async def _asked(reader: asyncio.StreamReader, begun: bytes) -> Asked:
    head = (begun + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, *_ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body)
