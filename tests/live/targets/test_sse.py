import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.live.targets.reading.sse import EventDecoder, EventTooLarge


def by_the_book(stream: str) -> list[bytes]:
    """WHATWG HTML 9.2.6 on the whole stream at once."""
    stream = stream.removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", stream)
    events, data = [], []
    for line in lines[:-1]:
        if line == "":
            if any(data) or len(data) > 1:
                events.append("\n".join(data).encode())
            data = []
        elif line.startswith(":"):
            continue
        else:
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
    return events


LINES = st.sampled_from(
    [
        "data: a",
        "data:b",
        "data: {}",
        "data",
        "data: ",
        ": comment",
        "event: x",
        "id: 1",
        "retry: 5",
        "datax: y",
        "",
        "",
    ]
)
STREAMS = st.builds(
    lambda bom, lines: ("\ufeff" if bom else "") + "".join(lines),
    st.booleans(),
    st.lists(st.builds(str.__add__, LINES, st.sampled_from(["\n", "\r\n", "\r", "\n\n"])), max_size=20),
)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=300, deadline=None)
def test_events_are_those_of_the_standard_wherever_the_bytes_are_split(stream: str, cuts: list[int]) -> None:
    decoder = EventDecoder(1 << 20)
    found = [event for part in split(stream.encode(), cuts) for event in decoder.feed(part)]
    # An event without data ends nothing and means nothing to anyone here.
    assert [event for event in found if event] == by_the_book(stream)


@given(
    texts=st.lists(st.text('ab{}" é', min_size=1), max_size=8), cuts=st.lists(st.integers(0, 400), max_size=6)
)
@settings(max_examples=100, deadline=None)
def test_plain_events_arrive_whole(texts: list[str], cuts: list[int]) -> None:
    stream = b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)
    decoder = EventDecoder(1 << 20)
    found = [event for part in split(stream, cuts) for event in decoder.feed(part)]
    assert found == [text.encode() for text in texts]


@pytest.mark.parametrize(
    "parts",
    [
        [b"data: " + b"x" * 600 + b"\n\n"],
        [b"data: ", *[b"x" * 100] * 6],
        [b"data: x\n"] * 600,
        [b": " + b"x" * 600],
    ],
)
def test_an_event_past_its_bound_is_refused(parts: list[bytes]) -> None:
    decoder = EventDecoder(512)
    with pytest.raises(EventTooLarge):
        for part in parts:
            decoder.feed(part)


def test_many_events_in_one_read_may_pass_the_bound_of_one() -> None:
    assert len(EventDecoder(512).feed(b"data: 0123456789\n\n" * 1000)) == 1000
