"""The least that a server in Python costs: httptools finds a request's end, ready events go out on a tick.

    python benchmarks/sending_floor.py STEP_S

Every stream gets an event every STEP_S seconds, all of them at the same moment; nothing of a prompt is read
but how many tokens are wanted. It prints its URL, and serves until it is terminated.
`benchmarks/server.py` runs it beside the server, so that figures are ratios of one run on one machine.
"""

from __future__ import annotations

import asyncio
import re
import sys
from time import monotonic
from typing import Any

import httptools
import uvloop

from swarm.provider.alarm import alarm

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
TOKENS = re.compile(rb'"max_tokens":\s*(\d+)')
TAIL_BYTES = 4096
"""At the ends of a body, where its settings are."""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(choices: bytes, more: bytes = b"") -> bytes:
    head = b'"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench"'
    return chunk(b'data: {%b,"choices":[%b]%b}\n\n' % (head, choices, more))


TOKEN = event(
    b'{"index":0,"delta":{"content":" abc"},"logprobs":null,"finish_reason":null}', b',"usage":null'
)
LAST = event(b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}', b',"usage":null')


class Ticker:
    """Sends every open stream its next event, step by step."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._open: dict[Line, int] = {}
        self._alarm = alarm(self._ring)
        self._due_s = 0.0

    def join(self, line: Line, tokens: int) -> None:
        """Send so many tokens, the first of them with the next step."""
        if not self._open:
            self._due_s = monotonic() + self._step_s
            self._alarm.set(self._due_s)
        self._open[line] = tokens

    def leave(self, line: Line) -> None:
        self._open.pop(line, None)

    def _ring(self) -> None:
        for line, left in list(self._open.items()):
            if left > 1:
                self._open[line] = left - 1
                line.transport.write(TOKEN)
            else:
                del self._open[line]
                line.end()
        if self._open:
            self._due_s += self._step_s
            self._alarm.set(self._due_s)


class Line(asyncio.Protocol):
    """One client."""

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._tokens = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ticker.leave(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._parts: list[bytes] = []

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._parts)
        found = TOKENS.search(body[-TAIL_BYTES:]) or TOKENS.search(body[:TAIL_BYTES])
        if found is None:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        self._tokens = int(found[1])
        self.transport.write(HEAD)
        self._ticker.join(self, self._tokens)

    def end(self) -> None:
        """Send the last token, the usage and the end."""
        tokens = b"%d" % self._tokens
        usage = b',"usage":{"prompt_tokens":1,"completion_tokens":%b,"total_tokens":%b}' % (tokens, tokens)
        done = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        self.transport.write(TOKEN + LAST + event(b"", usage) + done)


async def main(step_s: float) -> None:
    loop = asyncio.get_running_loop()
    ticker = Ticker(step_s)
    server = await loop.create_server(lambda: Line(ticker), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
