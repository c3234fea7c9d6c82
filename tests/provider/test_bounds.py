"""What a client may not do, byte by byte, and that the server goes on serving others."""

from __future__ import annotations

import asyncio
import json
import socket
from types import SimpleNamespace

import pytest

GOOD = b'{"prompt":"abcd","max_tokens":2}'


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


BODIES = {
    "no JSON": b"{",
    "not an object": b"[1]",
    "NaN": b'{"prompt":NaN}',
    "a lone surrogate": b'{"prompt":"\\ud800"}',
    "invalid UTF-8": b'{"prompt":"\xff\xfe"}',
    "a control character": b'{"prompt":"a\nb"}',
    "a control character in a long string": b'{"prompt":"' + b"a" * 40_000 + b'\n"}',
    "no prompt": b"{}",
    "an empty prompt": b'{"prompt":""}',
    "an empty list": b'{"prompt":[]}',
    "mixed ids": b'{"prompt":[1,"a"]}',
    "negative ids": b'{"prompt":[-1]}',
    "huge ids": b'{"prompt":[4294967296]}',
    "fractions": b'{"prompt":[1.5]}',
    "more prompts than are answered": b'{"prompt":[' + b'"a",' * 128 + b'"a"]}',
    "text beside ids": b'{"prompt":["a",[1]]}',
    "no tokens": b'{"prompt":"a","max_tokens":0}',
    "negative tokens": b'{"prompt":"a","max_tokens":-1}',
    "huge tokens": b'{"prompt":"a","max_tokens":1e300}',
    "integers past 64 bits": b'{"prompt":"a","max_tokens":99999999999999999999999999}',
    "tokens as text": b'{"prompt":"a","max_tokens":"5"}',
    "tokens as truth": b'{"prompt":"a","max_tokens":true}',
    "least past most": b'{"prompt":"a","max_tokens":1,"min_tokens":2}',
    "stream as text": b'{"prompt":"a","stream":"yes"}',
    "options as a list": b'{"prompt":"a","stream":true,"stream_options":[1]}',
    "more replies than are given": b'{"prompt":"a","n":129}',
    "more to choose from than given": b'{"prompt":"a","n":2,"best_of":3}',
    "a hot temperature": b'{"prompt":"a","temperature":"hot"}',
    "a share above 1": b'{"prompt":"a","top_p":1.5}',
    "chances of too many": b'{"prompt":"a","logprobs":1000}',
    "a stop word that is a number": b'{"prompt":"a","stop":5}',
    "options of a stream that is none": b'{"prompt":"a","stream_options":{"include_usage":true}}',
    "a text to insert before": b'{"prompt":"a","suffix":"b"}',
    "a pattern to follow": b'{"prompt":"a","guided_regex":"a+"}',
    "model as a number": b'{"prompt":"a","model":5}',
    "deep nesting": b'{"prompt":' + b"[" * 100_000,
    "a long list of letters": b'{"prompt":[' + b"abcd," * 10_000 + b"abcd]}",
    "a long list that does not end": b'{"prompt":[' + b"1234," * 10_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_makes_no_sense_is_a_400_in_openais_shape(desk: SimpleNamespace, body: bytes) -> None:
    async def main() -> tuple[bytes, bytes]:
        async with desk.serving() as served:
            bad = await served.raw(desk.request("/v1/completions", body))
            return bad, await served.raw(desk.request("/v1/completions", GOOD))

    bad, good = desk.run(main)
    assert (status(bad), status(good)) == (400, 200)
    error = json.loads(bad.split(b"\r\n\r\n", 1)[1])["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize(
    "messages",
    [
        "[]",
        "5",
        "[5]",
        "[{}]",
        '[{"role":1}]',
        '[{"role":"user","content":5}]',
        '[{"role":"u","content":[5]}]',
    ],
)
def test_messages_that_make_no_sense_are_a_400(desk: SimpleNamespace, messages: str) -> None:
    async def main() -> bytes:
        async with desk.serving() as served:
            body = b'{"messages":%b}' % messages.encode()
            return await served.raw(desk.request("/v1/chat/completions", body))

    assert status(desk.run(main)) == 400


HEADS = {
    "not HTTP": (b"hello\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an unknown path": (b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    "a wrong method": (b"GET /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
    "a length that is none": (b"POST /v1/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
    "a huge length": (b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
    "an absurd length": (b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % 10**18, 413),
    "endless headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431),
    "one endless header": (b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000, 431),
    "an endless target": (b"GET /" + b"b" * 100_000, 431),
    "an upgrade": (
        b"GET /v1/models HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize(("head", "expected"), HEADS.values(), ids=HEADS)
def test_a_head_that_makes_no_sense_is_answered_and_the_connection_closed(
    desk: SimpleNamespace, head: bytes, expected: int
) -> None:
    async def main() -> bytes:
        async with desk.serving() as served:
            return await served.raw(head)

    assert status(desk.run(main)) == expected


def test_a_chunked_body_past_the_limit_is_refused(desk: SimpleNamespace) -> None:
    async def main() -> bytes:
        async with desk.serving(body_bytes_max=1000) as served:
            head = b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            return await served.raw(head + b"".join(b"64\r\n%b\r\n" % (b"a" * 100) for _ in range(11)))

    assert status(desk.run(main)) == 413


@pytest.mark.parametrize("sent", [b"", b"POST /v1/comp", b"POST /v1/completions HTTP/1.1\r\n"])
def test_a_slow_head_is_given_up(desk: SimpleNamespace, sent: bytes) -> None:
    async def main() -> bytes:
        async with desk.serving(head_s=0.05) as served:
            return await served.raw(sent)

    assert desk.run(main) == b"" or status(desk.run(main)) == 408


def test_a_slow_body_is_given_up(desk: SimpleNamespace) -> None:
    async def main() -> bytes:
        async with desk.serving(body_s=0.05) as served:
            return await served.raw(b"POST /v1/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")

    assert status(desk.run(main)) == 408


def test_a_client_that_does_not_read_is_given_up(desk: SimpleNamespace) -> None:
    async def main() -> str:
        # Slow enough that no delay of this machine makes the whole reply due in one write, which ends it.
        slow = desk.fleet(cost={"decode_base_s": 1e-4})
        async with desk.serving(slow, write_buffer_bytes_max=10_000) as served:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", served.provider.port))
            _, writer = await asyncio.open_connection(sock=sock, limit=1)
            body = b'{"prompt":"abcd","max_tokens":100000,"stream":true}'
            writer.write(desk.request("/v1/completions", body))
            text = 'reason="abort"} 0'
            while 'reason="abort"} 0' in text:
                text = (await served.client.get("/metrics")).text
            writer.transport.abort()
            return text

    assert 'reason="abort"} 1' in desk.run(main)


def test_more_connections_than_allowed_are_told_so(desk: SimpleNamespace) -> None:
    async def main() -> bytes:
        async with desk.serving(connections_max=2) as served:
            held = [await asyncio.open_connection("127.0.0.1", served.provider.port) for _ in range(2)]
            for _, writer in held:
                writer.write(b"GET /health HTTP/1.1\r\n\r\n")
            for reader, _ in held:
                await reader.readuntil(b"{}")
            answer = await served.raw(b"GET /health HTTP/1.1\r\n\r\n")
            for _, writer in held:
                writer.close()
            return answer

    assert status(desk.run(main)) == 503


def test_pipelined_requests_are_answered_in_order(desk: SimpleNamespace) -> None:
    async def main() -> bytes:
        async with desk.serving() as served:
            first = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD)
            return await served.raw(first * 3 + desk.request("/v1/completions", GOOD))

    answers = desk.run(main).split(b"HTTP/1.1 200 OK")
    assert [b'"cmpl-%d"' % number in answers[number] for number in range(1, 5)] == [True] * 4


def test_a_body_may_come_after_a_100(desk: SimpleNamespace) -> None:
    async def main() -> bytes:
        async with desk.serving() as served:
            head, body = desk.request("/v1/completions", GOOD, b"Expect: 100-continue").split(b"\r\n\r\n")
            return await served.raw(head + b"\r\n\r\n", body)

    assert desk.run(main).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", 401),
        (b"Authorization: secret", 401),
        (b"Authorization: Bearer", 401),
        (b"Authorization: Bearer wrong", 401),
        (b"Authorization: Basic secret", 401),
        (b"authorization: bearer secret", 200),
    ],
)
def test_with_a_key_only_who_has_it_is_served(desk: SimpleNamespace, header: bytes, expected: int) -> None:
    async def main() -> tuple[bytes, bytes]:
        async with desk.serving(key="secret") as served:
            headers = (header,) if header else ()
            health = await served.raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
            return await served.raw(desk.request("/v1/completions", GOOD, *headers)), health

    answer, health = desk.run(main)
    assert (status(answer), status(health)) == (expected, 200)
    assert b"secret" not in answer
