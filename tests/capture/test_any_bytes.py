"""Whatever comes: framing gives the same wherever reads end, and no request or reply stops the writing."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.capture.entry import Entries, line_of
from swarm.capture.exchange import Exchange
from swarm.capture.framing import Chunked, Malformed, split_head

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["role", "content", "type", "text", "tool_calls", "function", "arguments", "name", "index", "usage"]
) | st.sampled_from(
    ["delta", "message", "choices", "id", "item", "output", "response", "content_block", "prompt_tokens"]
)
SHAPED = st.recursive(
    JSON | st.sampled_from(["user", "assistant", "tool", "message_start", "content_block_delta", "{", "[1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
APIS = ("chat", "completions", "messages", "responses")


@given(
    parts=st.lists(st.binary(min_size=1, max_size=30), max_size=6),
    trailer=st.sampled_from([b"", b"A: b\r\n"]),
    cuts=st.lists(st.integers(0, 250), max_size=8),
)
def test_chunks_are_the_same_wherever_reads_end(parts: list[bytes], trailer: bytes, cuts: list[int]) -> None:
    whole = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
    after = b"HTTP/1.1 next"
    body, found, used = Chunked(), list[bytes](), 0
    at = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for start, end in pairwise(at):
        data = whole[start:end] + (after if end == len(whole) and start < end else b"")
        if data and not body.is_over:
            used += body.take(data, found)
    assert (b"".join(found), used, body.is_over) == (b"".join(parts), len(whole), True)


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"3\r\n", b"GET / HTTP/1.1\r\n"]))
def test_bytes_that_are_no_http_are_refused(data: bytes, start: bytes) -> None:
    for read in (lambda text: Chunked().take(text, []), split_head):
        with suppress(Malformed):
            read(start + data)


def exchange(api: str, asked: bytes, replied: bytes, kind: bytes, coding: bytes = b"") -> Exchange:
    return Exchange(
        api=api,  # type: ignore[arg-type]
        started_s=1.0,
        started_unix_s=1e9,
        headers={b"content-encoding": coding},
        secret=b"k",
        asked=[asked],
        status=200,
        reply_headers={b"content-type": kind, b"content-encoding": coding},
        replied=[(2.0, replied)],
        ended_s=2.0,
    )


@settings(deadline=None)
@pytest.mark.parametrize("api", APIS)
@given(
    body=st.dictionaries(
        st.sampled_from(["messages", "input", "prompt", "system", "tools", "metadata"]), SHAPED
    )
)
def test_any_request_is_written(api: str, body: Any) -> None:
    entry = Entries(salt=b"s", keeps_content=False).entry(exchange(api, orjson.dumps(body), b"{}", b""))
    assert line_of(entry)


@settings(deadline=None)
@pytest.mark.parametrize("api", APIS)
@given(events=st.lists(SHAPED, max_size=4), is_stream=st.booleans())
def test_any_reply_is_written(api: str, events: list[Any], is_stream: bool) -> None:
    said = [orjson.dumps(event) for event in events]
    replied = b"".join(b"data: %b\n\n" % event for event in said) if is_stream else b"".join(said[:1])
    kind = b"text/event-stream" if is_stream else b"application/json"
    asked = b'{"messages":[{"role":"user","content":"x"}]}'
    entry = Entries(salt=b"s", keeps_content=True).entry(exchange(api, asked, replied, kind))
    assert line_of(entry)


@settings(deadline=None)
@given(data=st.binary(max_size=100), coding=st.sampled_from([b"gzip", b"deflate", b"zstd", b"br", b"x"]))
def test_any_bytes_in_any_coding_are_written(data: bytes, coding: bytes) -> None:
    entry = Entries(salt=b"s", keeps_content=False).entry(
        exchange("chat", data, data, b"application/json", coding)
    )
    assert line_of(entry)
