"""A stream says the same wherever its bytes are split."""

import asyncio
import json
import socket
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.config.target import Api, LimitConfig, TimeoutConfig
from swarm.live.targets.reading.answer import Answer
from swarm.live.targets.reading.plain_shape import Learned
from swarm.live.targets.transport.connection import Connection
from swarm.live.targets.transport.readiness import readiness
from swarm.live.targets.transport.timeouts import Watch
from swarm.live.targets.turn import TurnResult

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def chunk(finish: str | None = None, usage: Any = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    message = {"id": "c-1", "created": 1, "choices": [choice], "usage": usage}
    return b"data: " + json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


PIECES = st.sampled_from(
    [
        *(chunk(content=text) for text in ("a", " b", "c d", "é", "\n", 'say "no"', "\\", "}", "")),
        *(chunk(content=text) for text in ("x", "y", "z")),
        chunk(reasoning_content="hm"),
        chunk(content=[{"type": "text", "text": "p"}]),
        chunk(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]),
        chunk(content="u", usage={"prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 4}),
        chunk("stop"),
        chunk("length", content="l"),
        chunk("abort"),
        chunk(""),
        b": ping\n\n",
        b"event: message\nid: 1\ndata: {}\n\n",
        b"event: error\n: gone\n\n",
        b"error: gone\n\n",
        b"data: {bad\n\n",
        b"data: \xff\n\n",
        b'{"error": "gone"}\n',
        b'{\n"error": "gone"\n}\n',
        b"stray words\n\n",
        b"data: \rword\r\n\n",
        b"data: [DONE]\n\n",
        b"data: [DONE] \n\n",
    ]
)
ENDS = st.sampled_from([b"", b"data: [DONE]\n\n", b"data: [DONE]", chunk("stop") + b"data: [DONE]\n\n"])


def told(parts: list[bytes], api: Api = "chat") -> tuple[Any, ...]:
    """Return what is made of a response that arrives in these parts."""

    async def main() -> Answer:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ready = readiness()
        watch = Watch(1.0)
        ended: list[Connection] = []
        connection = Connection(
            sock=ours, tls=None, readiness=ready, limits=LimitConfig(), on_idle=ended.append,
            on_closed=ended.append,
        )  # fmt: skip
        answer = Answer(
            connection=connection, result=TurnResult(), timeouts=TimeoutConfig(), event_bytes_max=1 << 20,
            api=api, keep_reply=True, learned=Learned(), linger=watch.soon,
        )  # fmt: skip
        connection.start([b"x"], answer, bytes_max=1 << 20)
        theirs.recv(1)
        for part in parts:
            if connection.closed:
                break
            theirs.send(part)
            # Twice: once to be seen as readable, once to be read.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        theirs.close()
        await asyncio.wait_for(answer.waiter, 5)
        connection.abort()
        watch.close()
        ready.close()
        return answer

    answer = asyncio.run(main())
    result = answer.result
    kind = None if answer.failure is None else answer.failure.kind
    return (
        kind, result.finish_reason, result.output_counted, len(result.token_times), result.reply,
        result.prompt_tokens, result.cached_tokens, result.output_tokens, result.doubts,
    )  # fmt: skip


@given(pieces=st.lists(PIECES, max_size=14), end=ENDS, cuts=st.lists(st.integers(0, 2000), max_size=20))
@settings(max_examples=150, deadline=None)
def test_a_stream_says_the_same_wherever_it_is_split(
    pieces: list[bytes], end: bytes, cuts: list[int]
) -> None:
    body = b"".join([*pieces, end])
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    split = [body[a:b] for a, b in pairwise(places)]
    assert told([HEAD, *split]) == told([HEAD + body])


@given(pieces=st.lists(PIECES, max_size=8), end=ENDS)
@settings(max_examples=30, deadline=None)
def test_a_stream_says_the_same_byte_by_byte(pieces: list[bytes], end: bytes) -> None:
    body = b"".join([*pieces, end])
    assert told([HEAD, *(body[at : at + 1] for at in range(len(body)))]) == told([HEAD + body])


def named(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":"), ensure_ascii=False)
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data.encode())


def block_delta(kind: str, member: str, text: str, index: int = 0) -> bytes:
    return named("content_block_delta", index=index, delta={"type": kind, member: text})


WORDS = (" the", ' a"b', "é\\", "")
SAID: dict[Api, list[bytes]] = {
    "messages": [
        *(block_delta("text_delta", "text", text) for text in WORDS),
        *(block_delta("thinking_delta", "thinking", text) for text in WORDS),
        block_delta("input_json_delta", "partial_json", '{"a":'),
        block_delta("text_delta", "text", " two", 1) * 3,
        named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        named("ping"),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}),
        named("error", error={"message": "gone"}),
        b'data: {"type":"error","error":{"message":"gone"}}\n\n',
        named("message_stop"),
    ],
    "responses": [
        *(named("response.output_text.delta", delta=text, sequence_number=7) for text in WORDS),
        named("response.reasoning_text.delta", delta="hm", sequence_number=8),
        named("response.output_item.added", item={"type": "function_call", "name": "f"}),
        named("response.failed", response={"error": {"message": "gone"}}),
        named("response.completed", response={"status": "completed", "usage": {"output_tokens": 7}}),
        named("response.incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}),
    ],
}


@pytest.mark.parametrize("api", SAID)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_named_events_say_the_same_wherever_they_are_split(api: Api, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.sampled_from(SAID[api]), max_size=14))
    cuts = data.draw(st.lists(st.integers(0, 3000), max_size=20))
    body = b"".join(pieces)
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    split = [body[a:b] for a, b in pairwise(places)]
    assert told([HEAD, *split], api) == told([HEAD + body], api)
