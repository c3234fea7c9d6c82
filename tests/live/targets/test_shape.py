"""Events of a learned shape say what decoding them would say."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.live.targets.reading.plain_shape import UNKNOWN, learn

TEXTS = st.lists(
    st.one_of(
        st.sampled_from([" word", "x", "", "é", "\n", '"', "\\", '"content":"', "null", "}", "\u3000"]),
        st.text(max_size=6).filter(lambda text: not any(0xD800 <= ord(char) < 0xE000 for char in text)),
    ),
    max_size=12,
)
STREAMS = st.lists(
    st.tuples(st.sampled_from(["a", "c-1", 'q"', "\\"]), st.integers(1, 10**10), TEXTS, st.booleans()),
    min_size=1,
    max_size=4,
)


def event(api: str, name: str, created: int, text: str, finish: str | None = None) -> bytes:
    said = {"delta": {"content": text}} if api == "chat" else {"text": text}
    choice: dict[str, Any] = {"index": 0, **said, "finish_reason": finish}
    if api == "token_ids":
        choice["token_ids"] = [len(text), created % 7]
    message = {"id": name, "created": created, "choices": [choice]}
    return b"data: " + json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


@pytest.mark.parametrize("api", ["chat", "completions", "token_ids"])
@given(streams=STREAMS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replies_are_those_that_were_sent_in_one_read_or_in_many(
    lab: SimpleNamespace, api: str, streams: list[tuple[str, int, list[str], bool]]
) -> None:
    async def script(peer: Any) -> None:
        for name, created, texts, together in streams:
            await peer.request()
            await peer.send(lab.SSE_HEAD)
            events = [event(api, name, created, text) for text in texts]
            events += [event(api, name, created, "end", "stop"), lab.DONE]
            await peer.chunk(*([b"".join(events)] if together else events))
            await peer.send(b"0\r\n\r\n")
        await peer.reader.read()

    async def main() -> list[Any]:
        async with lab.serving(script) as server, lab.targeting(server.url, api=api) as target:
            return [await target.send(lab.make_turn()) for _ in streams]

    for result, (_, created, texts, _) in zip(lab.run(main), streams, strict=True):
        every = [*texts, "end"]
        ids = api == "token_ids"
        reply = ",".join(f"{len(text)},{created % 7}" for text in every) if ids else "".join(every)
        count = len(every) if ids else sum(map(bool, every))
        assert (result.outcome, result.reply, result.output_counted) == ("ok", reply, count)


def test_nothing_is_learned_where_the_text_cannot_be_told_from_the_rest() -> None:
    twice = b'{"choices":[{"delta":{"content":"a"},"message":{"content":"a"}}]}'
    assert learn(twice, "content", is_aside=False, has_ids=False) is None
    assert learn(rb'{"content":"\n"}', "content", is_aside=False, has_ids=False) is None
    assert learn(b'{"text":"a"}', "content", is_aside=False, has_ids=False) is None


@pytest.mark.parametrize("body", [b"", b"\r", b"data: \r", b"data: \0", b"\r\r\r"])
def test_nothing_has_the_unknown_shape(body: bytes) -> None:
    assert not body.startswith(UNKNOWN.lead)
    assert UNKNOWN.of_stream(body) is UNKNOWN
