"""Bytes and JSON that nobody meant: never a 500, never a crash, and the next client is served."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

ALLOWED = {100, 200, 400, 401, 404, 405, 408, 413, 415, 429, 431, 503}
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
VALUES = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=30)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.one_of(
        VALUES, st.fixed_dictionaries({"role": VALUES, "content": VALUES}, optional={"tool_calls": VALUES})
    ),
    max_size=4,
)
SCHEMAS = st.recursive(
    st.one_of(
        VALUES,
        st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "number", "null", "boolean"])}),
        st.fixed_dictionaries({"enum": st.lists(VALUES, max_size=3)}),
        st.fixed_dictionaries({"pattern": st.text(max_size=8)}),
        st.fixed_dictionaries({"minimum": NUMBERS, "maximum": NUMBERS}),
        st.just({"$ref": "#"}),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"items": inner, "minItems": NUMBERS}),
        st.fixed_dictionaries({"properties": st.dictionaries(st.text(max_size=4), inner, max_size=3)}),
    ),
    max_leaves=6,
)
TOOLS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": VALUES, "parameters": SCHEMAS}),
        }
    ),
    st.fixed_dictionaries({"name": st.just("f"), "input_schema": SCHEMAS}),
)
PATHS = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/tokenize",
    "/detokenize",
]
MEMBERS = {
    "prompt": st.one_of(VALUES, st.lists(st.integers(-5, 2**33), max_size=20)),
    "messages": st.one_of(VALUES, MESSAGES),
    "max_tokens": st.one_of(VALUES, st.integers(-2, 50)),
    "max_completion_tokens": st.one_of(VALUES, st.integers(-2, 50)),
    "min_tokens": VALUES,
    "stream": st.one_of(st.booleans(), VALUES),
    "stream_options": st.one_of(VALUES, st.fixed_dictionaries({"include_usage": VALUES})),
    "n": VALUES,
    "model": VALUES,
    "tools": st.one_of(VALUES, st.lists(TOOLS, max_size=3)),
    "tool_choice": st.one_of(VALUES, st.sampled_from(["auto", "required", "none"])),
    "response_format": st.one_of(
        VALUES, st.fixed_dictionaries({"type": st.just("json_schema"), "json_schema": VALUES})
    ),
    "system": VALUES,
    "input": st.one_of(VALUES, MESSAGES),
    "instructions": VALUES,
    "previous_response_id": VALUES,
    "text": VALUES,
    "echo": VALUES,
    "logprobs": VALUES,
    "top_logprobs": VALUES,
    "stop": VALUES,
    "seed": VALUES,
    "tokens": st.one_of(VALUES, st.lists(st.integers(0, 2**32 - 1), max_size=9)),
    "cache_salt": VALUES,
    "return_token_ids": VALUES,
}
BODIES = st.fixed_dictionaries({}, optional=MEMBERS)
HEADS = st.sampled_from([b"POST /v1/completions", b"POST /v1/chat/completions", b"GET /metrics", b"PUT /x"])
LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b"Transfer-Encoding: chunked",
                b"Content-Length: 5",
                b"Expect: 100-continue",
                b"Connection: close",
            ]
        ),
    ),
    max_size=5,
)


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@given(st.sampled_from(PATHS), BODIES)
@settings(max_examples=100, deadline=None)
def test_any_json_is_answered_or_refused(standing: SimpleNamespace, path: str, body: dict[str, Any]) -> None:
    answer = standing.exchange(standing.request(path, json.dumps(body).encode()))
    assert statuses(answer)
    assert set(statuses(answer)) <= ALLOWED


@given(st.one_of(HEADS, st.binary(max_size=40)), LINES, st.binary(max_size=60), st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_answered_or_refused(
    standing: SimpleNamespace, head: bytes, lines: list[bytes], rest: bytes, step: int
) -> None:
    data = b"\r\n".join([head + b" HTTP/1.1", *lines, b"", b""]) + rest
    answer = standing.exchange(*(data[at : at + step] for at in range(0, len(data), step)), ends=True)
    health = standing.exchange(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert set(statuses(answer)) <= ALLOWED
    assert statuses(health) == [200]


def test_a_stream_is_the_same_however_its_request_was_cut(desk: SimpleNamespace) -> None:
    async def main() -> set[bytes]:
        found = set()
        for step in (1, 7, 64, 1000):
            async with desk.serving() as served:
                body = b'{"prompt":"%b","max_tokens":3,"stream":true}' % (b"abcd" * 20)
                data = desk.request("/v1/completions", body, b"X-Request-Id: one")
                answer = await asyncio.wait_for(
                    served.raw(*(data[at : at + step] for at in range(0, len(data), step))), 20
                )
                found.add(re.sub(rb'"created":\d+|Date: [^\r]+', b"", answer))
        return found

    assert len(desk.run(main)) == 1
