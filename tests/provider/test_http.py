"""HTTP as clients nobody here wrote speak it: each answer by what RFC 9110 and 9112 say."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from types import SimpleNamespace

import pytest

GOOD = b'{"prompt":"abcd","max_tokens":2}'
STREAM = b'{"prompt":"abcd","max_tokens":2,"stream":true}'


def get(path: bytes, *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    head = [b"%b %b HTTP/%b" % (method, path, version), b"Host: x", b"Connection: close", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


def answer(desk: SimpleNamespace, *parts: bytes, **limits: int) -> bytes:
    async def main() -> bytes:
        async with desk.serving(**limits) as served:
            return bytes(await served.raw(*parts))

    return bytes(desk.run(main))


@pytest.mark.parametrize("path", [b"/metrics", b"/health", b"/v1/models", b"/v1/models/fleet", b"/version"])
def test_head_is_get_without_its_body(desk: SimpleNamespace, path: bytes) -> None:
    head, _, body = answer(desk, get(path, method=b"HEAD")).partition(b"\r\n\r\n")
    whole = answer(desk, get(path)).partition(b"\r\n\r\n")[2]
    assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"")
    assert b"Content-Length: %d\r\n" % len(whole) in head or path == b"/metrics"


@pytest.mark.parametrize(
    "path", [b"http://proxy:1/health", b"/health?probe=1", b"//health", b"/health/", b"http://h/health?x"]
)
def test_a_path_is_found_however_it_is_written(desk: SimpleNamespace, path: bytes) -> None:
    assert answer(desk, get(path)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_stream_to_http_1_0_has_no_chunks_and_ends_with_the_connection(desk: SimpleNamespace) -> None:
    head = b"POST /v1/completions HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n" % len(
        STREAM
    )
    fields, _, body = answer(desk, head + STREAM).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in fields.lower()
    assert b"Connection: close" in fields
    assert body.startswith(b"data: {") and body.endswith(b"data: [DONE]\n\n")


def test_http_1_0_is_told_that_its_connection_is_kept(desk: SimpleNamespace) -> None:
    kept = b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    found = answer(desk, kept + b"GET /health HTTP/1.0\r\n\r\n").split(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: keep-alive\r\n" in found[1]
    assert b"Connection: close\r\n" in found[2]


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        (b"gzip", gzip.compress(GOOD), b"200"),
        (b"gzip", gzip.compress(GOOD[:9]) + gzip.compress(GOOD[9:]), b"200"),
        (b"deflate", zlib.compress(GOOD), b"200"),
        (b"identity", GOOD, b"200"),
        (b"gzip", GOOD, b"400"),
        (b"gzip", gzip.compress(GOOD)[:-9], b"400"),
        (b"br", GOOD, b"415"),
        (b"gzip", gzip.compress(b" " * 10_000_000), b"413"),
    ],
)
def test_bodies_may_come_compressed(desk: SimpleNamespace, coding: bytes, body: bytes, status: bytes) -> None:
    sent = desk.request("/v1/completions", body, b"Content-Encoding: " + coding)
    assert answer(desk, sent, body_bytes_max=1_000_000).split(b" ", 2)[1] == status


def test_a_browser_may_ask_and_read(desk: SimpleNamespace) -> None:
    asks = (
        b"Origin: http://page",
        b"Access-Control-Request-Method: POST",
        b"Access-Control-Request-Headers: a,b",
    )
    before = answer(desk, get(b"/v1/chat/completions", *asks, method=b"OPTIONS"))
    assert before.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert (
        b"Access-Control-Allow-Origin: *\r\n" in before and b"Access-Control-Allow-Headers: a,b\r\n" in before
    )
    assert b"POST" in before.split(b"Access-Control-Allow-Methods: ")[1].split(b"\r\n")[0]
    assert b"Content-Length" not in before
    assert b"Access-Control-Allow-Origin: *\r\n" in answer(desk, get(b"/health", b"Origin: http://page"))


@pytest.mark.parametrize(("given", "is_kept"), [(b"one-2", True), (b"a" * 129, False), (b"a b", False)])
def test_a_request_is_known_by_the_id_that_it_brings_or_by_a_new_one(
    desk: SimpleNamespace, given: bytes, is_kept: bool
) -> None:
    found = answer(desk, get(b"/health", b"X-Request-ID: " + given))
    name = found.split(b"x-request-id: ")[1].split(b"\r\n")[0]
    assert (name == given) is is_kept
    assert b"\r\nDate: " in found


@pytest.mark.parametrize(
    "rest", [b"\x00garbage\r\n\r\n", b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\n: bad\r\n\r\n"]
)
def test_what_came_before_garbage_is_answered(desk: SimpleNamespace, rest: bytes) -> None:
    first = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(STREAM), STREAM)
    found = answer(desk, first + rest)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n") and b"[DONE]" in found
    # The head ends with an id of its own, which may end with a 0 as well.
    body = found.partition(b"\r\n\r\n")[2]
    assert body.partition(b"\r\n0\r\n\r\n")[2].startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_of_many_requests_at_once_none_is_dropped(desk: SimpleNamespace) -> None:
    one = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(GOOD), GOOD)
    found = answer(desk, one * 60, one * 60, desk.request("/v1/completions", GOOD), pipelined_max=4)
    assert found.count(b"HTTP/1.1 200 OK") == 121


@pytest.mark.parametrize("lines", [[b"A: " + b"b" * 3000], [b"A: b"] * 500])
def test_headers_have_a_bound_in_one_packet_too(desk: SimpleNamespace, lines: list[bytes]) -> None:
    assert answer(desk, get(b"/health", *lines), header_bytes_max=2000).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("depth", [250, 260, 900])
def test_tools_nested_deep_are_refused_and_not_dropped(desk: SimpleNamespace, path: str, depth: int) -> None:
    schema = '{"a":' * depth + "1" + "}" * depth
    messages = '[{"role":"user","content":"x"}]'
    parts = f'"parameters":{schema},"input_schema":{schema}'
    tool = f'{{"type":"function","name":"f",{parts},"function":{{"name":"f",{parts}}}}}'
    if path == "/v1/messages":
        tool = f'{{"name":"f","input_schema":{schema}}}'
    body = f'{{"max_tokens":1,"messages":{messages},"input":"x","tools":[{tool}]}}'
    status = answer(desk, desk.request(path, body.encode())).split(b" ", 2)[1]
    assert status == (b"400" if depth > 250 else b"200") or (depth == 250 and status == b"400")


def test_the_head_of_a_stream_comes_before_its_first_token(desk: SimpleNamespace) -> None:
    async def main() -> bytes:
        async with desk.serving(desk.fleet(cost={"prefill_tokens_per_s": 1e-3})) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.provider.port)
            writer.write(desk.request("/v1/completions", STREAM))
            head = await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            return bytes(head)

    assert desk.run(main).startswith(b"HTTP/1.1 200 OK\r\n")


def test_caches_are_let_go_of_when_asked(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving() as served:
            found = []
            for path in ("/health", "/reset_prefix_cache"):
                await served.client.request("GET" if path == "/health" else "POST", path)
                answer = await served.client.post(
                    "/v1/completions", json={"prompt": "x" * 400, "max_tokens": 1}
                )
                found.append(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
                again = await served.client.post(
                    "/v1/completions", json={"prompt": "x" * 400, "max_tokens": 1}
                )
                found.append(again.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
            return found

    assert desk.run(main) == [0, 96, 0, 96]


def test_errors_of_the_emulator_itself_are_answered(
    desk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> tuple[int, dict[str, object]]:
        async with desk.serving() as served:
            monkeypatch.setattr(served.provider, "_desk", object())
            found = await served.client.post("/v1/completions", content=GOOD)
            return found.status_code, json.loads(found.content)["error"]

    status, error = desk.run(main)
    assert (status, error["code"]) == (500, "emulator_failed")
