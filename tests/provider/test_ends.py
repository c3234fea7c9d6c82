"""How clients end what they send: each whole request is answered, all else is refused in words."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

GOOD = b'{"prompt":"abcd","max_tokens":2}'
STREAM = b'{"prompt":"abcd","max_tokens":2,"stream":true}'
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
GARBAGE = b"garbage\r\n\r\n"


def post(body: bytes, headers: bytes = b"", path: bytes = b"/v1/completions") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, headers, len(body), body)


def nested(depth: int) -> bytes:
    return b'{"messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"


def tool(depth: int) -> bytes:
    schema = b'{"type":"object","properties":{"a":' * depth + b"{}" + b"}}" * depth
    function = b'{"type":"function","function":{"name":"f","parameters":%b}}' % schema
    return b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"tools":[%b]}' % function


CHAT = b"/v1/chat/completions"
SENT: dict[str, tuple[bytes, list[int]]] = {
    "one request": (post(GOOD), [200]),
    "a stream": (post(STREAM), [200]),
    "eighteen requests": (post(GOOD) * 18, [200] * 18),
    "forty streams": (post(STREAM) * 40, [200] * 40),
    "a request and garbage": (post(GOOD) + GARBAGE, [200, 400]),
    "a stream and garbage": (post(STREAM) + bytes(range(256)), [200, 400]),
    "eighteen requests and garbage": (post(GOOD) * 18 + GARBAGE, [200] * 18 + [400]),
    "a request and half of one": (post(GOOD) + post(GOOD)[:-3], [200, 400]),
    "half of a body": (post(GOOD)[:-3], [400]),
    "half of a head": (post(GOOD)[:40], [400]),
    "an offer of HTTP/2": (post(GOOD, OFFER) + post(GOOD), [200, 200]),
    "an offer of HTTP/2 without a body": (b"GET /health HTTP/1.1\r\nHost: x\r\n" + OFFER + b"\r\n", [200]),
    "another upgrade": (post(GOOD, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), [400]),
    "tools nested 260 deep": (post(tool(260), path=CHAT), [400]),
    "content nested 300 deep": (post(nested(300), path=CHAT), [400]),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("name", SENT)
def test_what_was_sent_before_a_client_ends_is_answered(standing: SimpleNamespace, name: str) -> None:
    data, expected = SENT[name]
    answer = standing.exchange(data, ends=True)
    codes = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
    assert [code for code in codes if code >= 200] == expected


def test_a_refusal_arrives_though_the_client_goes_on_sending(standing: SimpleNamespace) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n"
    answer = standing.exchange(head, *[b"a" * 65536] * 50, ends=True)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", [{"stream": False}, {"stream": True}])
def test_a_client_that_is_gone_is_given_up(desk: SimpleNamespace, body: dict[str, Any]) -> None:
    async def main() -> str:
        async with desk.serving(desk.fleet(cost={"decode_base_s": 0.05})) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.provider.port)
            asked = {"prompt": "abcd", "max_tokens": 100_000, **body}
            writer.write(post(json.dumps(asked).encode()))
            text = ""
            while not re.search(r"num_requests_running\{.*\} 1", text):
                text = (await served.client.get("/metrics")).text
            writer.close()
            while 'reason="abort"} 1' not in text:
                text = (await served.client.get("/metrics")).text
            return text

    assert desk.run(main)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_that_reads_slowly_gets_everything_in_order(desk: SimpleNamespace, factory: Any) -> None:
    """What its kernel does not take at once waits, and what follows waits behind it."""

    async def main() -> bytes:
        async with desk.serving(desk.fleet(cost={"decode_base_s": 1e-4})) as served:
            # Whoever is accepted has its listener's buffers.
            served.provider._server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, ("127.0.0.1", served.provider.port))
                body = {"prompt": "x", "max_tokens": 4000, "stream": True, "logprobs": 20}
                await loop.sock_sendall(sock, desk.request("/v1/completions", json.dumps(body).encode()))
                await asyncio.sleep(0.1)
                found = b""
                while data := await loop.sock_recv(sock, 65536):
                    found += data
                return found

    with asyncio.Runner(loop_factory=factory) as runner:
        answer = runner.run(asyncio.wait_for(main(), 60))
    events = re.findall(rb"data: (\{.*\})\n\n", answer)
    told = [json.loads(event)["choices"][0]["logprobs"] for event in events]
    assert sum(len(each["tokens"]) for each in told if each) == 4000
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert len(answer) > 1_000_000
