"""Responses through the own transport and through httpx's: the same statuses, headers, bodies and errors."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.config.target import LimitConfig
from swarm.live.targets.transport.httpx_transport import StreamTransport

OK = b"HTTP/1.1 200 OK\r\n"
CASES = {
    "sized": OK + b"Content-Length: 5\r\n\r\nhello",
    "empty": OK + b"Content-Length: 0\r\n\r\n",
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "chunks of one": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40 + b"0\r\n\r\n",
    "chunk extensions": OK + b'Transfer-Encoding: chunked\r\n\r\n5;a="b";c\r\nhello\r\n0;x\r\n\r\n',
    "chunk sizes in capitals": OK + b"TRANSFER-ENCODING: chunked\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n",
    "trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    "close-delimited": OK + b"Content-Type: text/plain\r\n\r\nuntil the end",
    "close-delimited HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 that stays": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "connection: close": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "103 first": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\nok",
    "204": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
    "repeated headers": OK + b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    "spaces around values": OK + b"X-Space:  \t padded \t \r\nContent-Length: 0\r\n\r\n",
    "no reason": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    "bytes in headers": OK + b"X-Latin: caf\xe9\r\nContent-Length: 0\r\n\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy",
    "cut in a sized body": OK + b"Content-Length: 50\r\n\r\nhello",
    "cut in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\nhello",
    "cut before the last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "cut in the headers": OK + b"Content-Le",
    "nothing": b"",
    "not HTTP": b"220 smtp.example.com ESMTP\r\n",
    "a bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "a bad length": OK + b"Content-Length: five\r\n\r\nhello",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
}
ARMS: dict[str, Callable[..., httpx.AsyncBaseTransport]] = {
    "own": lambda **_: StreamTransport(limits=LimitConfig(), ca_file=None),
    "httpx": lambda **_: httpx.AsyncHTTPTransport(retries=0),
}


async def seen(transport: httpx.AsyncBaseTransport, url: str, method: str = "GET") -> tuple[Any, ...]:
    """Return all that a caller sees of one response."""
    async with httpx.AsyncClient(transport=transport, timeout=5, trust_env=False) as client:
        body = b""
        try:
            async with client.stream(method, url) as response:
                async for part in response.aiter_raw():
                    body += part
        except httpx.TransportError as error:
            return type(error).__name__, body
        headers = [(name.lower(), value) for name, value in response.headers.raw]
        return response.status_code, headers, body


def compare(lab: SimpleNamespace, parts: list[bytes], method: str = "GET", pause_s: float = 0.0) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(pause_s)

    async def main() -> list[tuple[Any, ...]]:
        async with lab.serving(script) as server:
            return [await seen(make(), server.url, method) for make in ARMS.values()]

    own, other = lab.run(main)
    assert own == other


@pytest.mark.parametrize("name", CASES)
def test_both_transports_see_the_same(lab: SimpleNamespace, name: str) -> None:
    compare(lab, [CASES[name]])


@given(name=st.sampled_from(sorted(CASES)), cuts=st.lists(st.integers(1, 10_000), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_see_the_same_wherever_the_bytes_are_split(
    lab: SimpleNamespace, name: str, cuts: list[int]
) -> None:
    data = CASES[name]
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    compare(lab, [data[a:b] for a, b in pairwise(places)], pause_s=0.001)


def test_a_head_request_has_no_body(lab: SimpleNamespace) -> None:
    compare(lab, [OK + b"Content-Length: 500\r\n\r\n"], "HEAD")


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_arrive_as_they_were_sent(lab: SimpleNamespace, arm: str, chunked: bool) -> None:
    received = []

    async def script(peer: Any) -> None:
        if chunked:
            await peer.reader.readuntil(b"\r\n\r\n")
            received.append(await peer.reader.readuntil(b"0\r\n\r\n"))
        else:
            received.append((await peer.request())[1])
        await peer.send(CASES["sized"])

    async def parts() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"defg"

    async def main() -> int:
        async with (
            lab.serving(script) as server,
            httpx.AsyncClient(transport=ARMS[arm](), trust_env=False) as client,
        ):
            return (await client.post(server.url, content=parts() if chunked else b"abcdefg")).status_code

    assert lab.run(main) == 200
    assert received == [b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n" if chunked else b"abcdefg"]


@pytest.mark.parametrize("arm", ARMS)
def test_requests_share_a_connection_and_survive_its_loss(lab: SimpleNamespace, arm: str) -> None:
    async def script(peer: Any) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(CASES["sized"])

    async def main() -> tuple[list[bytes], int]:
        async with (
            lab.serving(script) as server,
            httpx.AsyncClient(transport=ARMS[arm](), trust_env=False) as client,
        ):
            bodies = []
            for _ in range(4):
                bodies.append((await client.get(server.url)).content)
                await asyncio.sleep(0.02)
            return bodies, len(server.peers)

    assert lab.run(main) == ([b"hello"] * 4, 2)


@pytest.mark.parametrize("arm", ARMS)
def test_a_server_waits_for_a_caller_that_does_not_read(lab: SimpleNamespace, arm: str) -> None:
    size = 64 << 20
    sent = [0]

    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % size)
        part = b"x" * (1 << 20)
        for _ in range(size >> 20):
            await peer.send(part)
            sent[0] += len(part)

    async def main() -> tuple[int, int]:
        async with (
            lab.serving(script) as server,
            httpx.AsyncClient(transport=ARMS[arm](), trust_env=False) as client,
            client.stream("GET", server.url) as response,
        ):
            await asyncio.sleep(0.3)
            before = sent[0]
            return before, sum([len(part) async for part in response.aiter_raw()])

    before, whole = lab.run(main)
    assert before < size // 2
    assert whole == size


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize(
    ("script_name", "timeout", "error"),
    [
        ("hang", httpx.Timeout(5, read=0.2), httpx.ReadTimeout),
        ("refuse", httpx.Timeout(5), httpx.ConnectError),
    ],
)
def test_errors_have_httpx_names(
    lab: SimpleNamespace, arm: str, script_name: str, timeout: httpx.Timeout, error: type[Exception]
) -> None:
    async def hang(peer: Any) -> None:
        await peer.request()
        await asyncio.sleep(5)

    async def main() -> None:
        async with lab.serving(hang) as server:
            url = server.url if script_name == "hang" else "http://127.0.0.1:9"
            async with httpx.AsyncClient(transport=ARMS[arm](), timeout=timeout, trust_env=False) as client:
                await client.get(url)

    with pytest.raises(error):
        lab.run(main)


def test_tls_through_the_seam(lab: SimpleNamespace, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def script(peer: Any) -> None:
        while True:
            await peer.request()
            await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
            await peer.chunk(b"x" * 300_000, b"y")
            await peer.send(b"0\r\n\r\n")

    async def main() -> list[int]:
        async with lab.serving(script, context) as server:
            transport = StreamTransport(limits=LimitConfig(), ca_file=str(certificate[0]))
            async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
                return [len((await client.get(server.url)).content) for _ in range(3)]

    assert lab.run(main) == [300_001] * 3
