"""Bytes pass as they come, in both directions, whatever they are; ends and faults pass as well."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

CHAT = "/v1/chat/completions"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
BODY = orjson.dumps(
    {
        "id": "r",
        "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}},
    }
)
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\ndata: [DONE]\n\n',
)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def exchanged(
    wire: SimpleNamespace, folder: Path, reply: bytes, asked: bytes, **changes: Any
) -> SimpleNamespace:
    """Send bytes to a server that answers with bytes and closes: what each side saw, and what was written."""
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await wire.request(reader)
        seen.append(head + body)
        writer.write(reply)
        await writer.drain()

    async def main() -> SimpleNamespace:
        async with wire.upstream(script) as url, wire.capturing(folder, url, **changes) as front:
            got = await front.raw(asked)
            await asyncio.sleep(0)
            return SimpleNamespace(
                got=got, seen=seen, entries=front.entries(), url=url, status=front.proxy.status()
            )

    return wire.run(main)


@pytest.mark.parametrize(
    "reply",
    [
        STREAM + chunked(*EVENTS) + b"0\r\n\r\n",
        STREAM + chunked(*EVENTS) + b"0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b"".join(EVENTS),
        b"HTTP/1.1 100 Continue\r\n\r\n" + STREAM + chunked(*EVENTS) + b"0\r\n\r\n",
        b"HTTP/1.0 200 OK\nContent-Type: application/json\n\n" + BODY,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 529 Overloaded\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!",
    ],
)
def test_a_reply_passes_byte_for_byte(tmp_path: Path, wire: SimpleNamespace, reply: bytes) -> None:
    assert exchanged(wire, tmp_path, reply, wire.post(CHAT, ASKED)).got == reply


def test_a_request_passes_but_for_what_names_the_server(tmp_path: Path, wire: SimpleNamespace) -> None:
    asked = wire.post(f"{CHAT}?a=b", ASKED, "X-Own:  kept", "Accept-Encoding: br, gzip;q=0.5, zstd")
    found = exchanged(wire, tmp_path, wire.answer(BODY), asked)
    port = found.url.rpartition(":")[2]
    expected = asked.replace(b"Host: x", f"Host: 127.0.0.1:{port}".encode())
    expected = expected.replace(b"br, gzip;q=0.5, zstd", b"gzip;q=0.5").replace(b"X-Own:  ", b"X-Own: ")
    assert found.seen == [expected]


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("", "/v1/messages", "/v1/messages"),
        ("/api/v1", "/chat/completions", "/api/v1/chat/completions"),
        ("/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("/api", "/apis/x", "/api/apis/x"),
    ],
)
def test_a_path_is_put_behind_the_upstream_s(path: str, target: str, expected: str) -> None:
    from swarm.capture.framing import Head
    from swarm.capture.upstream import Upstream

    upstream = Upstream(f"http://h{path}", ca_file=None)
    head = upstream.head(b"POST", target.encode(), Head(b"POST / HTTP/1.1", []), is_read=False)
    assert head == f"POST {expected} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def test_a_stream_is_not_held_back(tmp_path: Path, wire: SimpleNamespace) -> None:
    """The server sends no second event before the client has the first."""
    came = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(STREAM + chunked(EVENTS[0])[:-4])
        await writer.drain()
        await came.wait()
        writer.write(chunked(EVENTS[0])[-4:] + chunked(*EVENTS[1:]) + b"0\r\n\r\n")

    async def main() -> list[dict[str, Any]]:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(wire.post(CHAT, ASKED))
            await reader.readuntil(b'"a"')
            came.set()
            await reader.readuntil(b"0\r\n\r\n")
            writer.close()
            return front.entries()

    (entry,) = wire.run(main)
    assert (entry["outcome"], entry["output_tokens"], entry["deltas"]) == ("ok", 2, 2)


def test_a_request_s_body_is_not_held_back(tmp_path: Path, wire: SimpleNamespace) -> None:
    """The client sends no second half before the server has the first."""
    came = asyncio.Event()
    whole = wire.post(CHAT, ASKED)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'"model"')
        came.set()
        await reader.readuntil(b"hello")
        writer.write(wire.answer(BODY, "Connection: close"))

    async def main() -> bytes:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(whole[:-20])
            await came.wait()
            writer.write(whole[-20:])
            return await reader.read()

    assert wire.run(main).endswith(BODY)


def test_a_connection_is_used_again_by_requests_one_after_the_other(
    tmp_path: Path, wire: SimpleNamespace
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await wire.request(reader)
            writer.write(wire.answer(body))

    async def main() -> bytes:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            # The second is sent before the first is answered.
            first, second = (wire.post("/x", {"n": n}, closes=False) for n in (1, 2))
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(first + second)
            got = await reader.readuntil(b'{"n":1}') + await reader.readuntil(b'{"n":2}')
            writer.close()
            return got

    assert wire.run(main) == wire.answer(b'{"n":1}') + wire.answer(b'{"n":2}')


def test_a_connection_that_the_server_closed_as_it_came_in_use_is_made_again(
    tmp_path: Path, wire: SimpleNamespace
) -> None:
    served = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        _, body = await wire.request(reader)
        served += 1
        writer.write(wire.answer(body))
        if served == 1:
            await wire.request(reader)  # And closes without an answer.

    async def main() -> bytes:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(wire.post("/x", {"n": 1}, closes=False))
            await reader.readuntil(b'{"n":1}')
            writer.write(wire.post("/x", {"n": 2}))
            return await reader.read()

    assert wire.run(main) == wire.answer(b'{"n":2}')


def test_a_switch_of_protocols_passes_both_ways(tmp_path: Path, wire: SimpleNamespace) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhi")
        writer.write(await reader.readexactly(4))

    async def main() -> bytes:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(b"GET /v1/responses HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
            got = await reader.readuntil(b"\r\n\r\nhi")
            writer.write(b"\0\1\2\3")
            return got[-2:] + await reader.read()

    assert wire.run(main) == b"hi\0\1\2\3"


def test_a_client_that_goes_ends_the_server_s_work(tmp_path: Path, wire: SimpleNamespace) -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(STREAM + chunked(EVENTS[0]))
        assert await reader.read() == b""
        gone.set()

    async def main() -> list[dict[str, Any]]:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(wire.post(CHAT, ASKED))
            await reader.readuntil(b'"a"')
            writer.close()
            await gone.wait()
            return front.entries()

    (entry,) = wire.run(main)
    assert (entry["outcome"], entry["deltas"], entry["output_tokens"]) == ("client_gone", 1, None)


@pytest.mark.parametrize(
    ("reply", "outcome", "got"),
    [
        (b"", "upstream_gone", b"502"),
        (STREAM + chunked(EVENTS[0]), "upstream_gone", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "upstream_gone", None),
        (b"nonsense\r\n\r\n", "malformed", None),
        (STREAM + b"zz\r\n", "malformed", None),
    ],
)
def test_a_server_s_end_passes_and_is_told(
    tmp_path: Path, wire: SimpleNamespace, reply: bytes, outcome: str, got: bytes | None
) -> None:
    found = exchanged(wire, tmp_path, reply, wire.post(CHAT, ASKED))
    assert found.entries[0]["outcome"] == outcome
    assert found.got == b"reset" or found.got.startswith(reply) if got is None else got in found.got


def test_an_upstream_that_is_not_there_is_told_in_words(tmp_path: Path, wire: SimpleNamespace) -> None:
    async def main() -> tuple[bytes, list[dict[str, Any]]]:
        async with wire.capturing(tmp_path, "http://127.0.0.1:9") as front:
            return await front.raw(wire.post(CHAT, ASKED)), front.entries()

    got, (entry,) = wire.run(main)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert orjson.loads(got.partition(b"\r\n\r\n")[2])["error"]["type"] == "capture_error"
    assert entry["outcome"] == "unreachable"


@pytest.mark.parametrize(
    "asked",
    [
        b"nonsense\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
    ],
)
def test_what_two_readers_could_understand_differently_is_refused(
    tmp_path: Path, wire: SimpleNamespace, asked: bytes
) -> None:
    found = exchanged(wire, tmp_path, wire.answer(BODY), asked)
    assert found.got.startswith(b"HTTP/1.1 400 ")


def test_the_status_page_is_for_programs_and_people(tmp_path: Path, wire: SimpleNamespace) -> None:
    async def main() -> list[bytes]:
        async with wire.capturing(tmp_path, "http://127.0.0.1:9") as front:
            ask = "GET /status HTTP/1.1\r\nHost: x\r\nAccept: {}\r\n\r\n"
            return [await front.raw(ask.format(kind).encode()) for kind in ("*/*", "text/html")]

    said, page = (got.partition(b"\r\n\r\n")[2] for got in wire.run(main))
    assert orjson.loads(said)["written"]["entries"] == 0
    assert page.startswith(b"<!doctype html>")


def test_a_compressed_reply_passes_and_is_read(tmp_path: Path, wire: SimpleNamespace) -> None:
    reply = wire.answer(gzip.compress(BODY), "Content-Encoding: gzip")
    found = exchanged(wire, tmp_path, reply, wire.post(CHAT, ASKED))
    assert found.got == reply
    assert found.entries[0]["input_tokens"] == 9


def test_a_reply_that_nobody_can_read_passes(tmp_path: Path, wire: SimpleNamespace) -> None:
    reply = wire.answer(b"\0\1\2", "Content-Encoding: br")
    found = exchanged(wire, tmp_path, reply, wire.post(CHAT, ASKED))
    assert found.got == reply
    assert found.entries[0]["outcome"] == "unreadable"


def test_large_bodies_pass_whole(tmp_path: Path, wire: SimpleNamespace) -> None:
    """More than any socket's buffers hold, in both directions, past a client that reads late."""
    body = b'{"x":"' + b"y" * (24 << 20) + b'"}'
    found = exchanged(wire, tmp_path, wire.answer(body), wire.post("/files", body))
    assert found.got == wire.answer(body)
    assert found.seen[0].endswith(body)


def test_stopping_lets_open_requests_end(tmp_path: Path, wire: SimpleNamespace) -> None:
    stopping = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(STREAM + chunked(EVENTS[0]))
        await stopping.wait()
        writer.write(chunked(*EVENTS[1:]) + b"0\r\n\r\n")

    async def main() -> tuple[bytes, list[dict[str, Any]]]:
        async with wire.upstream(script) as url, wire.capturing(tmp_path, url) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(wire.post(CHAT, ASKED, closes=False))
            await reader.readuntil(b'"a"')
            stop = asyncio.create_task(front.proxy.stop(20.0))
            await asyncio.sleep(0)
            stopping.set()
            got = await reader.read()
            writer.close()
            await stop
            return got, front.entries()

    got, (entry,) = wire.run(main)
    assert got.endswith(b"0\r\n\r\n")
    assert entry["outcome"] == "ok"
