"""A server that answers every turn at once and counts what came: benchmarks/counting.py --host H --port P

It shares no code with the client. Each request is told apart by its agent (the session header) and by the
digest of its body, which is another one at each turn of an agent whose context grows. GET /counts says how
many requests came, how many of them were answered in full, and how many different ones each agent sent.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import time
from collections import Counter

MOST_TOKENS = re.compile(rb'"max_tokens":\s*(\d+)')
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
AGENT = re.compile(rb"\r\nx-session-id:\s*([^\r]+)", re.IGNORECASE)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"


class Counts:
    """What came in."""

    def __init__(self) -> None:
        self.by_body: Counter[tuple[str, bytes]] = Counter()
        self.answered = 0
        self.bytes = 0
        self.first_unix_s: float | None = None

    def take(self, agent: str, body: bytes) -> None:
        """Count a request of an agent."""
        if self.first_unix_s is None:
            self.first_unix_s = time.time()
        self.bytes += len(body)
        self.by_body[agent, hashlib.blake2b(body, digest_size=12).digest()] += 1

    def told(self) -> bytes:
        """Return the counts as JSON."""
        agents: Counter[str] = Counter(agent for agent, _ in self.by_body)
        came = sum(self.by_body.values())
        return json.dumps(
            {
                "came": came,
                "answered": self.answered,
                "doubled": came - len(self.by_body),
                "different": dict(agents),
                "bytes": self.bytes,
                "first_unix_s": self.first_unix_s,
            }
        ).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if head.startswith(b"POST"):
                agent = AGENT.search(head)
                # Probes before a run carry no agent of its.
                is_turn = agent is not None and re.match(rb"s\d{6}", agent[1]) is not None
                if agent is not None and is_turn:
                    counts.take(agent[1].decode(), body)
                said, kind = answer(body), b"text/event-stream"
                writer.write(HEAD % (kind, len(said)) + said)
                await writer.drain()
                counts.answered += is_turn
                continue
            if b"/counts" in head:
                said = counts.told()
            elif b"/v1/models" in head:
                said = b'{"object":"list","data":[{"id":"counting","object":"model"}]}'
            else:
                said = b"{}"
            writer.write(HEAD % (b"application/json", len(said)) + said)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def answer(body: bytes) -> bytes:
    """Return a stream of as many tokens as asked for, all in one event."""
    asked = MOST_TOKENS.search(body)
    tokens = int(asked[1]) if asked else 1
    delta = {"index": 0, "delta": {"content": " abc" * tokens}, "finish_reason": "length"}
    usage = {"prompt_tokens": max(1, len(body) // 4), "completion_tokens": tokens}
    events = [{"choices": [delta]}, {"choices": [], "usage": {**usage, "total_tokens": sum(usage.values())}}]
    return (
        b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    arguments = parser.parse_args()
    counts = Counts()
    server = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, counts), arguments.host, arguments.port, limit=1 << 20
    )
    print(f"http://{arguments.host}:{arguments.port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
