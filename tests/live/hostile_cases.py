"""What hostile servers do, by framing, position and act, and what each comes to; `serve` does it on a port.

    python hostile_cases.py     # prints its port; the first part of a request's path names the case

A case sends its `prefix` and then acts: it goes silent, closes, breaks the connection off, or goes on sending
its `unit`, slowly or without end.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

DRIP_S = 0.02
SILENT_S = 30.0
FLOOD_BYTES = 64 * 1024
FLOOD_BYTES_MAX = 512 * 1024**2
"""A client that has read so much has no bound."""


@dataclass(frozen=True)
class Case:
    """One thing that a server does, and the outcome of the request that met it."""

    prefix: bytes
    act: str
    unit: bytes
    outcome: str


def data(message: Any) -> bytes:
    return b"data: " + json.dumps(message, separators=(",", ":")).encode() + b"\n\n"


def chunk(finish: str | None = None, *, more: Any = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **(more or {})})


def usage(**counts: Any) -> bytes:
    return data({"id": "c", "choices": [], "usage": counts})


TEXTS = chunk(role="assistant", content="") + chunk(content="a") + chunk(content="b")
FINISH = chunk("stop")
DONE = b"data: [DONE]\n\n"
OK = b"HTTP/1.1 200 OK\r\n"
SSE = OK + b"Content-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
PING = b": " + b"ping" * 15 + b"\n\n"


class Framing:
    """How a body's bytes are framed."""

    def __init__(self, header: bytes, is_chunked: bool) -> None:
        self.header = header
        self._is_chunked = is_chunked

    def part(self, body: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(body), body) if self._is_chunked and body else body


FRAMINGS = {
    "in chunks": Framing(CHUNKED, True),
    "of a stated length": Framing(b"Content-Length: 999999999\r\n\r\n", False),
    "until the close": Framing(b"Connection: close\r\n\r\n", False),
}
STREAMS = {
    # Position: what came before, what goes on, and what silence, close, reset, drip and flood come to.
    "after the head": (b"", PING, "timeout_first_token truncated reset timeout_first_token too_large"),
    "within an event": (
        b'data: {"choices":[{"delta":{"content":"',
        b"a",
        "timeout_first_token truncated reset timeout_first_token too_large",
    ),
    "after a token": (TEXTS, PING, "timeout_between_tokens truncated reset timeout_between_tokens too_large"),
    "in tokens": (TEXTS, chunk(content="c"), "- - - timeout_total too_large"),
    "in events of nothing": (
        TEXTS,
        data({"choices": []}),
        "- - - timeout_between_tokens too_large",
    ),
    "after the finish": (
        TEXTS + FINISH,
        PING,
        "timeout_between_tokens truncated reset timeout_between_tokens too_large",
    ),
    "after [DONE]": (TEXTS + FINISH + DONE, PING, "ok ok ok ok ok"),
}
BODIES = {
    "an error's body": (b"HTTP/1.1 500 No\r\n", b"no room ", "http_5xx"),
    "a refusal's body": (b"HTTP/1.1 429 Slow\r\nRetry-After: 1e308\r\n", b"slow down ", "http_429"),
    "a redirect's body": (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n",
        b"there ",
        "http_other",
    ),
    "a body of JSON": (OK + b"Content-Type: application/json\r\n", b'{"choices":[', "malformed"),
    "a packed body": (SSE + b"Content-Encoding: gzip\r\n", b"\x1f\x8b\x08", "malformed"),
}
HEADS = {
    "the status line": (b"HTTP/1.1 200 O", b"K"),
    "a header's name": (OK + b"X-", b"a"),
    "a header's value": (OK + b"X-A: ", b"a"),
    "the headers": (OK, b"X-A: b\r\n"),
    "an informational response": (b"HTTP/1.1 103 Early Hints\r\nLink: ", b"a"),
}
CHUNKS = {
    # What is between tokens and the end, and no body.
    "a chunk's extension": (SSE + CHUNKED + FRAMINGS["in chunks"].part(TEXTS) + b"5;a=", b"a"),
    "trailers": (SSE + CHUNKED + FRAMINGS["in chunks"].part(TEXTS) + b"0\r\n", b"X-T: a\r\n"),
}
ACTS = ("silence", "close", "reset", "drip", "flood")
FIRST = "timeout_first_token truncated reset timeout_first_token too_large"
BETWEEN = "timeout_between_tokens truncated reset timeout_between_tokens too_large"

DEEP = b"data: " + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n\n"
EMPTIES = b"data: [" + b"[]," * 300_000 + b"[]]\n\n"
LONG = "x" * 500_000
WHOLE = TEXTS + FINISH + DONE
MEMBERS: dict[str, tuple[bytes, str]] = {
    "a whole reply": (WHOLE, "ok"),
    "deep JSON": (DEEP, "malformed"),
    "a list of empty lists": (EMPTIES, "malformed"),
    "an event past the bound": (chunk(content="x" * (1 << 20)), "too_large"),
    "a long id": (data({"id": LONG, "choices": [{"delta": {"content": "a"}}]}) + WHOLE, "ok"),
    "a long text": (chunk(content=LONG) + WHOLE, "ok"),
    "a long reason": (TEXTS + chunk(LONG) + DONE, "stream_error"),
    "a long error": (TEXTS + data({"error": {"message": LONG}}), "stream_error"),
    "a long comment of an error": (b": error: " + LONG.encode() + b"\n\n", "stream_error"),
    "a long name of an event": (b"event: " + LONG.encode() + b"\n" + WHOLE, "ok"),
    "a long line of no field": (LONG.encode() + b"\n\n" + WHOLE, "ok"),
    "many choices": (data({"choices": [{"delta": {"content": "a"}}] * 20_000}) + WHOLE, "ok"),
    "many ids": (data({"choices": [{"text": "a", "token_ids": list(range(100_000))}]}) + WHOLE, "ok"),
    "many calls": (chunk(tool_calls=[{"function": {"arguments": "a"}}] * 10_000) + WHOLE, "ok"),
    "a number past all bounds": (TEXTS + FINISH + usage(prompt_tokens=10**4000) + DONE, "ok"),
    "counts of 1e308": (TEXTS + FINISH + usage(prompt_tokens=1e308, completion_tokens=1e308) + DONE, "ok"),
    "counts below nothing": (TEXTS + FINISH + usage(prompt_tokens=-5, completion_tokens=-1) + DONE, "ok"),
    "counts of NaN": (
        TEXTS + FINISH + b'data: {"choices":[],"usage":{"prompt_tokens":NaN}}\n\n' + DONE,
        "ok",
    ),
    "counts that are a list": (TEXTS + usage(prompt_tokens=[1]) + FINISH + DONE, "malformed"),
    "half a surrogate pair": (TEXTS.replace(b'"b"', b'"\\ud800"') + FINISH + DONE, "ok"),
    "bytes that are no text": (TEXTS.replace(b'"b"', b'"\xff\xfe"') + FINISH + DONE, "malformed"),
    "nothing but [DONE]": (DONE, "truncated"),
    "a finish without a token": (FINISH + DONE, "empty"),
}
WIRES: dict[str, tuple[bytes, str]] = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", "malformed"),
    "frames of HTTP 2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", "malformed"),
    "zeros": (bytes(100_000), "malformed"),
    "a status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "malformed"),
    "an upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "malformed"),
    "informational without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "malformed"),
    "a length below nothing": (SSE + b"Content-Length: -1\r\n\r\n" + WHOLE, "malformed"),
    "a length past 64 bits": (SSE + b"Content-Length: 99999999999999999999999\r\n\r\n" + WHOLE, "malformed"),
    "a length twice": (SSE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + WHOLE, "malformed"),
    "a chunk past 64 bits": (SSE + CHUNKED + b"fffffffffffffffffff\r\n" + WHOLE, "malformed"),
    "a chunk of no number": (SSE + CHUNKED + b"-5\r\n" + WHOLE, "malformed"),
    "a NUL in a header": (OK + b"X-A: a\0b\r\n\r\n", "malformed"),
    "an encoding that nobody asked for": (SSE + b"Content-Encoding: br\r\n\r\n" + WHOLE, "malformed"),
    "many headers": (OK + b"".join(b"X-%d: y\r\n" % k for k in range(20_000)) + b"\r\n", "too_large"),
}


def cases() -> dict[str, Case]:
    """Return every case by its name."""
    found: dict[str, Case] = {}

    def add(name: str, prefix: bytes, unit: bytes, outcomes: str) -> None:
        for act, outcome in zip(ACTS, outcomes.split(), strict=True):
            if outcome != "-":
                found[f"{act} {name}"] = Case(prefix, act, unit, outcome)

    for name, (prefix, unit) in HEADS.items():
        add(f"within {name}", prefix, unit, FIRST)
    for name, (prefix, unit) in CHUNKS.items():
        add(f"within {name}", prefix, unit, BETWEEN)
    add("before a response", b"", b"x", "timeout_first_token truncated reset malformed malformed")
    for how, framing in FRAMINGS.items():
        for name, (before, unit, outcomes) in STREAMS.items():
            if how == "until the close" and name == "after the finish":
                outcomes = outcomes.replace("truncated", "ok")
            prefix = SSE + framing.header + framing.part(before)
            if name == "within an event" and framing is FRAMINGS["in chunks"]:
                # One chunk that never ends, so that the event's end lacks in it.
                prefix = SSE + framing.header + b"fffffff\r\n" + before
                add(f"{name} {how}", prefix, unit, outcomes)
                continue
            add(f"{name} {how}", prefix, framing.part(unit), outcomes)
        for name, (head, unit, outcome) in BODIES.items():
            add(f"within {name} {how}", head + framing.header, framing.part(unit), " ".join([outcome] * 5))
        for name, (body, outcome) in MEMBERS.items():
            end = b"0\r\n\r\n" if how == "in chunks" else b""
            header = framing.header
            if how == "of a stated length":
                header = b"Content-Length: %d\r\n\r\n" % len(body)
            found[f"{name} {how}"] = Case(SSE + header + framing.part(body) + end, "close", b"", outcome)
    for name, (text, outcome) in WIRES.items():
        found[name] = Case(text, "silence", b"", outcome)
    return found


def questions() -> dict[str, Case]:
    """Return what is done to a question that is no turn, by its name; the outcome is of one for models."""
    found: dict[str, Case] = {}

    def add(name: str, prefix: bytes, unit: bytes, flooded: str, closed: str, drop: bytes = b"") -> None:
        for act in ACTS:
            words = {"flood": flooded, "close": closed}.get(act, "Error")
            part = drop if drop and act == "drip" else unit
            found[f"{act} {name} of an answer"] = Case(prefix, act, part, words)

    for name, (prefix, unit) in HEADS.items():
        add(f"within {name}", prefix, unit, "Error", "Error")
    add("before a response", b"", b"x", "Error", "Error")
    for how, framing in FRAMINGS.items():
        # Drops never fill what is read of a refusal.
        unit, drop = framing.part(b" " * 4096), framing.part(b" ")
        for status in (b"200 OK", b"207 Multi-Status"):
            head = b"HTTP/1.1 %b\r\n%b" % (status, framing.header)
            closed = "expected a list" if how == "until the close" else "Error"
            add(f"within {status.decode()} {how}", head, unit, "over 2,097,152 bytes", closed, drop)
        for status in (b"404 No", b"500 No", b"302 Found\r\nLocation: " + b"x" * 60_000):
            head = b"HTTP/1.1 %b\r\n%b" % (status, framing.header)
            closed = f"HTTP {status[:3].decode()}" if how == "until the close" else "Error"
            add(
                f"within {status[:9].decode()} {how}", head, unit, f"HTTP {status[:3].decode()}", closed, drop
            )
        packed = OK + b"Content-Encoding: gzip\r\n" + framing.header
        found[f"packed bytes {how}"] = Case(packed, "flood", unit, "was not asked for")
    add("within a chunk's extension", OK + CHUNKED + b"5;a=", b"a", "Error", "Error")
    add("within trailers", OK + CHUNKED + b"0\r\n", b"X-T: a\r\n", "Error", "Error")
    return found


def pages() -> dict[str, Case]:
    """Return pages of counters that are none, by name."""
    name = b"vllm:prefix_cache_hits_total "
    values = {"1e308": b"1e308", "NaN": b"NaN", "below nothing": b"-1"}
    found = {}
    for what, value in values.items():
        body = b"vllm:prefix_cache_queries_total 10\n" + name + value + b"\n"
        head = OK + b"Content-Length: %d\r\n\r\n" % len(body)
        found[f"counters of {what}"] = Case(head + body, "close", b"", "left aside")
    return found


CASES = cases()
PAGES = pages()
QUESTIONS = questions()


async def perform(case: Case, writer: asyncio.StreamWriter) -> None:
    """Do what a case says."""
    if case.prefix:
        writer.write(case.prefix)
        await writer.drain()
    if case.act == "silence":
        await asyncio.sleep(SILENT_S)
    elif case.act == "reset":
        # What was sent is to be read before.
        await asyncio.sleep(0.2)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
    elif case.act == "drip":
        while True:
            writer.write(case.unit)
            await writer.drain()
            await asyncio.sleep(DRIP_S)
    elif case.act == "flood":
        block = case.unit * (FLOOD_BYTES // len(case.unit))
        for _ in range(FLOOD_BYTES_MAX // FLOOD_BYTES):
            writer.write(block)
            await writer.drain()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, found: dict[str, Case]) -> None:
    """Answer one request of a connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if sizes:
            await reader.readexactly(int(sizes[0].split(b":")[1]))
        path = head.split(b" ")[1].decode()
        # A name may be of two cases: of turns, and of the page of counters.
        name, _, page = unquote(path.split("/")[1]).partition("+")
        if page and path.endswith("/metrics"):
            name = page
        await perform(found[name], writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve(found: dict[str, Case]) -> None:
    """Serve the cases on a port that is printed."""
    server = await asyncio.start_server(
        lambda reader, writer: answer(reader, writer, found), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def base(port: int, name: str) -> str:
    """Return the base URL under which a case is served."""
    return f"http://127.0.0.1:{port}/{quote(name, safe='')}"


if __name__ == "__main__":
    asyncio.run(serve({**CASES, **QUESTIONS, **PAGES}))
