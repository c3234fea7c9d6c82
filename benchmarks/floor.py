"""The least that a client in Python costs: an asyncio protocol with httptools that counts events, no more.

`benchmarks/client.py` runs these beside its own cases, so that figures are ratios of one run on one machine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httptools


class Counter(asyncio.Protocol):
    """Sends one ready-made request again and again, while there is `more` to do, and counts `data:` lines."""

    def __init__(self, request: bytes, more: Callable[[], bool], ended: Callable[[], None]) -> None:
        self._request = request
        self._more = more
        self._ended = ended
        self.events = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def go(self) -> None:
        if not self._more():
            self._ended()
            return
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.events += body.count(b"data:")

    def on_message_complete(self) -> None:
        self.go()


def request_of(tokens: int) -> bytes:
    """Return a request of about the size of the other cases' ones."""
    body = {"prompt": "x" * 2400, "model": "mock", "stream": True, "max_tokens": tokens, "min_tokens": tokens}
    data = json.dumps({**body, "ignore_eos": True, "stream_options": {"include_usage": True}}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: mock\r\nContent-Type: application/json\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(data), data)


async def connect(
    port: int, streams: int, tokens: int, more: Callable[[], bool]
) -> tuple[list[Counter], asyncio.Future[None]]:
    """Return open connections that have not begun, and what is done when all of them have ended."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    left = [streams]

    def ended() -> None:
        left[0] -= 1
        if not left[0] and not done.done():
            done.set_result(None)

    made = []
    for _ in range(streams):
        _, counter = await loop.create_connection(
            lambda: Counter(request_of(tokens), more, ended), "127.0.0.1", port
        )
        made.append(counter)
    return made, done
