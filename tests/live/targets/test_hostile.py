"""What servers do wrong, by framing, position and member: each ends its request at once, as what it is."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.measure.failures import remedy

WORDS = "worker disconnected"
AT_ONCE_S = 1.0
"""The server goes silent after what it did; timeouts are 5 s."""


def data(message: Any) -> bytes:
    return b"data: " + json.dumps(message, separators=(",", ":")).encode() + b"\n\n"


def chunk(finish: str | None = None, *, more: Any = None, beside: Any = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **(beside or {})}
    return data({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **(more or {})})


def counted(**usage: Any) -> bytes:
    return data({"id": "c", "choices": [], "usage": usage})


ROLE = chunk(role="assistant", content="")
TEXTS = chunk(content="a") + chunk(content="b")
FINISH = chunk("stop")
DONE = b"data: [DONE]\n\n"
USAGE = counted(prompt_tokens=30, completion_tokens=2, prompt_tokens_details={"cached_tokens": 16})

POSITIONS: dict[str, bytes] = {
    "first": b"",
    "after a role": ROLE,
    "amid text": ROLE + TEXTS,
    "after the finish": ROLE + TEXTS + FINISH,
    "after usage": ROLE + TEXTS + FINISH + USAGE,
}


def chunked(body: bytes) -> list[bytes]:
    return [SSE % b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(body), body)]


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%b\r\n\r\n"
FRAMINGS: dict[str, Callable[[bytes], list[bytes]]] = {
    "one chunk": chunked,
    "chunk by chunk": lambda body: [
        SSE % b"Transfer-Encoding: chunked",
        *(b"%x\r\n%b\r\n" % (len(part), part) for part in (each + b"\n\n" for each in body.split(b"\n\n"))),
    ],
    "byte by byte": lambda body: [
        SSE % b"Transfer-Encoding: chunked",
        *(b"1\r\n%c\r\n" % byte for byte in body),
    ],
    "lines of CRLF": lambda body: chunked(body.replace(b"\n", b"\r\n")),
    "until the close": lambda body: [SSE % b"Connection: close", body],
    "longer to come": lambda body: [SSE % b"Content-Length: 1000000", body],
}

ERRORS: dict[str, bytes] = {
    "a named event with a comment": f"event: error\n: {WORDS}\n\n".encode(),
    "a named event with an object": f'event: error\ndata: {{"message":"{WORDS}","code":500}}\n\n'.encode(),
    "a named event with words": f"event: error\ndata: {WORDS}\n\n".encode(),
    "a named event of a family": f'event: response.failed\ndata: {{"message":"{WORDS}"}}\n\n'.encode(),
    "a name behind its data": f"data: {WORDS}\nevent: error\n\n".encode(),
    "an error field": f'error: {{"code":400,"message":"{WORDS}"}}\n\n'.encode(),
    "an error field of words": f"error: {WORDS}\n\n".encode(),
    "an error comment": f": error: {WORDS}\n\n".encode(),
    "an error comment of JSON": f': {{"error":"{WORDS}"}}\n\n'.encode(),
    "an error member": data({"error": {"message": WORDS, "code": 500}}),
    "an error string": data({"error": WORDS}),
    "a list of errors": data({"errors": [{"message": WORDS}]}),
    "a flat object": data({"object": "error", "message": WORDS, "code": 400}),
    "a flat type": data({"type": "error", "message": WORDS}),
    "a bare message and code": data({"message": WORDS, "code": 500}),
    "a detail": data({"detail": WORDS}),
    "an error code": data({"error_code": 336003, "error_msg": WORDS}),
    "a code and words": data({"code": 500, "msg": WORDS}),
    "a status code and words": data({"statusCode": 500, "message": WORDS}),
    "a status": data({"status": "error", "msg": WORDS}),
    "no success": data({"success": False, "message": WORDS}),
    "an exception": data({"exception": WORDS}),
    "a type of a family": data({"type": "response.failed", "response": {"error": {"message": WORDS}}}),
    "names in capitals": data({"Error": {"Message": WORDS}}),
    "a base response": data({"base_resp": {"status_code": 1004, "status_msg": WORDS}}),
    "an error beside choices": chunk(content="c", more={"error": {"message": WORDS}}),
    "an error in a choice": chunk(content="c", beside={"error": {"message": WORDS}}),
    "an error in a choice of few members": data({"choices": [{"delta": {}, "error": {"message": WORDS}}]}),
    "an error in a delta": chunk(content="c", error={"message": WORDS}),
    "JSON without framing": f'{{"error":{{"message":"{WORDS}"}}}}'.encode(),
    "JSON without framing, in lines": f'{{\n "error": {{\n  "message": "{WORDS}"\n }}\n}}\n'.encode(),
    "a list without framing": f'[{{"error":{{"message":"{WORDS}"}}}}]'.encode(),
    "words as data": f"data: error: {WORDS}\n\n".encode(),
}
GIVEN_UP: dict[str, bytes] = {
    reason: chunk(reason, content="c") for reason in ("abort", "error", "cancelled", "timeout", "who knows")
}
DEEP = b"data: " + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n\n"
MALFORMED: dict[str, bytes] = {
    "no JSON": b"data: {not json}\n\n",
    "half an object": b'data: {"choices":[{"delta":{"content":"c"\n\n',
    "an object that only ends like one": b'data: {"choices":[{"delta":{"content":"c"},,}]}\n\n',
    "a list": b"data: [1, 2]\n\n",
    "a number": b"data: 7\n\n",
    "choices of no kind": b'data: {"choices": 7}\n\n',
    "a choice of no kind": b'data: {"choices": [null]}\n\n',
    "a delta of no kind": b'data: {"choices":[{"delta":"c"}]}\n\n',
    "content of no kind": b'data: {"choices":[{"delta":{"content":7}}]}\n\n',
    "a reason of no kind": b'data: {"choices":[{"delta":{},"finish_reason":7}]}\n\n',
    "a count of no kind": b'data: {"choices":[],"usage":{"prompt_tokens":[7]}}\n\n',
    "deep JSON": DEEP,
    "deep brackets that never close": b"data: " + b"[" * 100_000 + b"\n\n",
    "text that is not UTF-8": chunk(content="c").replace(b'"c"', b'"\xff\xfe"'),
    "half a character": chunk(content="c").replace(b'"c"', b'"\xe2\x82"'),
    "a NUL in text": chunk(content="c").replace(b'"c"', b'"c\0"'),
    "text between NULs": b"data: \0word\0\n\n",
    "a NUL before an event": b"data: \0{}\n\n",
    "a control character": chunk(content="c").replace(b'"c"', b'"c\x1b[2J"'),
    "an escape that is none": chunk(content="c").replace(b'"c"', b'"\\q"'),
    "a quote too many": chunk(content="c").replace(b'"c"', b'"c"d"'),
    "a reply without framing": b'{"choices":[{"message":{"content":"c"},"finish_reason":"stop"}]}\n',
}


def hanging(parts: list[bytes]) -> Any:
    async def script(peer: Any) -> None:
        await peer.request()
        for part in parts:
            peer.writer.write(part)
        await peer.writer.drain()
        await asyncio.sleep(8)

    return script


def outcome(lab: SimpleNamespace, body: bytes, framing: str) -> Any:
    began = time.monotonic()
    result = lab.ask(hanging(FRAMINGS[framing](body)))
    assert result.completed_s - result.sent_s < AT_ONCE_S, "it ends at once"
    assert time.monotonic() - began < 4 * AT_ONCE_S, "and is told at once"
    return result


def few(names: Any) -> list[tuple[str, str, str]]:
    """Every member with every framing and with every position, in about as many cases as there are of one."""
    found = []
    places = itertools.cycle(POSITIONS)
    for name in names:
        found += [(framing, next(places), name) for framing in FRAMINGS]
    return found


@pytest.mark.parametrize(("framing", "position", "member"), few(ERRORS))
def test_an_error_is_a_failure_in_the_servers_words(
    lab: SimpleNamespace, framing: str, position: str, member: str
) -> None:
    result = outcome(lab, POSITIONS[position] + ERRORS[member] + FINISH + DONE, framing)
    assert (result.outcome, WORDS in result.error) == ("stream_error", True)


@pytest.mark.parametrize(("framing", "position", "member"), few(GIVEN_UP))
def test_a_reply_that_was_given_up_is_a_failure(
    lab: SimpleNamespace, framing: str, position: str, member: str
) -> None:
    result = outcome(lab, POSITIONS[position] + GIVEN_UP[member] + DONE, framing)
    assert (result.outcome, member in result.error) == ("stream_error", True)


@pytest.mark.parametrize(("framing", "position", "member"), few(MALFORMED))
def test_what_is_no_event_ends_the_request(
    lab: SimpleNamespace, framing: str, position: str, member: str
) -> None:
    if framing == "byte by byte" and len(MALFORMED[member]) > 10_000:
        framing = "one chunk"
    assert (
        outcome(lab, POSITIONS[position] + MALFORMED[member] + FINISH + DONE, framing).outcome == "malformed"
    )


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ROLE + TEXTS + FINISH + DONE, ("ok", 2)),
        (ROLE + TEXTS + FINISH + b"data: [DONE] \n\n", ("ok", 2)),
        (ROLE + TEXTS + FINISH + b"data:[DONE]\n\n", ("ok", 2)),
        (ROLE + TEXTS + FINISH + b"data: [DONE]\n", ("ok", 2)),
        (ROLE + TEXTS + FINISH + b"data: [DONE]", ("ok", 2)),
        (ROLE + TEXTS + FINISH + b"data: [DONE] ", ("ok", 2)),
        (ROLE + TEXTS + FINISH + DONE + TEXTS + ERRORS["an error member"], ("ok", 2)),
        (TEXTS + chunk("stop", content="c") + DONE, ("ok", 3)),
        (TEXTS + chunk("", content="c") + FINISH + DONE, ("ok", 3)),
        (TEXTS + FINISH + chunk("") + DONE, ("ok", 2)),
        (TEXTS + b"data: null\n\n" + b"data:\n\n" + b": ping\n\n" + FINISH + DONE, ("ok", 2)),
        (TEXTS + chunk("stop", more={"error": None}) + DONE, ("ok", 2)),
        (ROLE + chunk("content_filter") + DONE, ("ok", None)),
        (ROLE + chunk(refusal="no") + FINISH + DONE, ("ok", 1)),
        (ROLE + chunk("length") + counted(prompt_tokens=30, completion_tokens=8) + DONE, ("ok", 8)),
        (ROLE + FINISH + DONE, ("empty", None)),
        (ROLE + FINISH + counted(prompt_tokens=30, completion_tokens=0) + DONE, ("empty", 0)),
        (ROLE + chunk(content=[]) + chunk(tool_calls=[{"function": {"arguments": ""}}]) + FINISH + DONE,
         ("empty", None)),
        (ROLE + TEXTS + DONE, ("truncated", 2)),
        (ROLE + TEXTS + chunk("") + DONE, ("truncated", 2)),
        (DONE, ("truncated", None)),
    ],
)  # fmt: skip
def test_a_reply_has_finished_if_the_server_said_so_and_something_came(
    lab: SimpleNamespace, framing: str, body: bytes, expected: tuple[str, int | None]
) -> None:
    result = outcome(lab, body, framing)
    assert (result.outcome, result.output_tokens) == expected


WHOLE = TEXTS + FINISH + USAGE + DONE


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([SSE % b"Content-Length: %d" % len(WHOLE), WHOLE + b"and more"], "ok"),
        ([SSE % b"Content-Length: %d" % (len(WHOLE) - 60), WHOLE], "malformed"),
        ([SSE % b"Content-Length: 40", WHOLE], "malformed"),
        ([*chunked(WHOLE), b"0\r\n\r\nand more"], "ok"),
        ([*chunked(TEXTS), b"0\r\n\r\n" + FINISH], "malformed"),
        ([*chunked(TEXTS), b"0\r\n\r\n"], "truncated"),
        ([*chunked(TEXTS), b"zz\r\n"], "malformed"),
        ([*chunked(WHOLE[: -len(DONE)] + DONE.rstrip()), b"0\r\n\r\n"], "ok"),
        ([*chunked(TEXTS + FINISH + USAGE.rstrip()), b"0\r\n\r\n"], "ok"),
        ([*chunked(TEXTS + FINISH[:-20]), b"0\r\n\r\n"], "truncated"),
        ([*chunked(b'data: {"error":"no"}'), b"0\r\n\r\n"], "stream_error"),
    ],
)
def test_bodies_that_are_not_as_long_as_they_say(
    lab: SimpleNamespace, parts: list[bytes], expected: str
) -> None:
    result = lab.ask(hanging([b"".join(parts)]))
    assert result.outcome == expected
    assert result.completed_s - result.sent_s < AT_ONCE_S
    if expected == "ok":
        assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) in (
            (30, 16, 2),
            (None, None, 2),
        )


@pytest.mark.parametrize(
    ("parts", "expected", "words"),
    [
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"], "malformed", "unexpected status 101"),
        ([b"HTTP/1.1 429 Slow\r\nContent-Type: text/plain\r\n\r\nslow down"], "http_429", "slow down"),
        ([b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nSign in"], "malformed", "Sign in"),
    ],
)
def test_a_response_that_says_what_it_is_and_goes_silent_is_that(
    lab: SimpleNamespace, parts: list[bytes], expected: str, words: str
) -> None:
    timeouts = {"connect_s": 5, "first_token_s": 0.5, "between_tokens_s": 0.5, "total_s": 5}
    result = lab.ask(hanging(parts), timeouts=timeouts)
    assert (result.outcome, words in result.error) == (expected, True)


def test_a_stream_that_is_done_without_a_finish_reason_says_which_of_them_is_missing(
    lab: SimpleNamespace,
) -> None:
    result = lab.ask(hanging(chunked(TEXTS + USAGE + DONE)))
    assert (result.outcome, result.error) == (
        "truncated",
        "the stream ended without a finish_reason, but with [DONE]",
    )
    advice = remedy("truncated", 200, result.error, exact_output=False)
    assert "let the server, and proxies before it, send one" in str(advice)


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "expected", "words"),
    [
        (b"application/json", b'{"error":{"message":"quota exceeded"}}', "stream_error", "quota exceeded"),
        (b"application/json", b'{"detail":"quota exceeded"}', "stream_error", "quota exceeded"),
        (b"application/json", b'[{"error":{"message":"quota exceeded"}}]', "stream_error", "quota exceeded"),
        (b"text/plain", b'{"message":"quota exceeded","code":1}', "stream_error", "quota exceeded"),
        (b"application/json", b'{"choices":[{"message":{"content":"hi"}}]}', "malformed", "hi"),
        (b"text/html", b"<html>" + b"Sign in " * 3000, "malformed", "Sign in"),
    ],
)
def test_a_body_that_is_no_event_stream_is_quoted(
    lab: SimpleNamespace, kind: bytes, body: bytes, expected: str, words: str
) -> None:
    result = lab.ask(hanging([JSON % kind + b"%x\r\n%b\r\n" % (len(body), body)]))
    assert (result.outcome, words in result.error) == (expected, True)
    assert result.completed_s - result.sent_s < AT_ONCE_S


BEARERS: dict[str, dict[str, Any]] = {
    "content": {"content": "x"},
    "parts": {"content": [{"type": "text", "text": "x"}]},
    "strings in a list": {"content": ["x"]},
    "thinking parts": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}]},
    "reasoning_content": {"reasoning_content": "x", "content": None},
    "reasoning": {"reasoning": "x", "content": ""},
    "thinking": {"thinking": "x"},
    "reasoning_summary": {"reasoning_summary": "x"},
    "tool_plan": {"tool_plan": "x"},
    "reasoning_details": {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": "x"}]},
    "thinking_blocks": {"thinking_blocks": [{"type": "thinking", "thinking": "x"}]},
    "refusal": {"refusal": "x"},
    "tool_calls": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
    "a tool's name": {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]},
    "a tool's object": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
    "function_call": {"function_call": {"name": "f", "arguments": ""}},
    "audio": {"audio": {"id": "1", "data": "AAAA"}},
}
SILENT: dict[str, dict[str, Any]] = {
    "a role": {"role": "assistant"},
    "empty content": {"content": ""},
    "no content": {"content": None},
    "empty parts": {"content": [{"type": "text", "text": ""}]},
    "an empty call": {
        "tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"arguments": ""}}]
    },
    "no calls": {"tool_calls": []},
}


@pytest.mark.parametrize("member", BEARERS)
@pytest.mark.parametrize("position", ["first", "after a role", "amid text"])
def test_members_that_bear_tokens_are_tokens(lab: SimpleNamespace, member: str, position: str) -> None:
    result = outcome(
        lab, POSITIONS[position] + chunk(**BEARERS[member]) * 2 + FINISH + DONE, "chunk by chunk"
    )
    before = POSITIONS[position].count(b'"content":"a"') * 2
    assert (result.outcome, result.output_counted, result.first_token_s is None) == ("ok", before + 2, False)


@pytest.mark.parametrize("member", SILENT)
def test_members_without_tokens_are_none(lab: SimpleNamespace, member: str) -> None:
    assert outcome(lab, chunk(**SILENT[member]) + TEXTS + FINISH + DONE, "one chunk").output_counted == 2


CACHED: list[dict[str, Any]] = [
    {"prompt_tokens_details": {"cached_tokens": 16}},
    {"prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 16},
    {"prompt_tokens_details": {"cache_read_input_tokens": 16}},
    {"input_tokens_details": {"cached_tokens": 16}},
    {"cached_tokens": 16},
    {"cache_read_input_tokens": 16, "cache_creation_input_tokens": 0},
    {"num_cached_tokens": 16},
    {"prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 14},
    {"prompt_tokens_details": [], "cached_tokens": "16"},
    {"prompt_tokens_details": {"cached_tokens": 16.0}},
]


@pytest.mark.parametrize(
    "place",
    ["alone", "on a text", "on the finish", "in a choice", "in a choice of few members", "beside", "growing"],
)
@pytest.mark.parametrize("cached", CACHED)
def test_usage_counts_wherever_it_rides(lab: SimpleNamespace, place: str, cached: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 4, **cached}
    bodies = {
        "alone": TEXTS + FINISH + counted(**usage),
        "on a text": TEXTS[: len(TEXTS) // 2] + chunk("stop", content="b", more={"usage": usage}),
        "on the finish": TEXTS + chunk("stop", more={"usage": usage}),
        "in a choice": TEXTS + chunk("stop", beside={"usage": usage}),
        "in a choice of few members": TEXTS
        + data({"choices": [{"delta": {}, "finish_reason": "stop", "usage": usage}]}),
        "beside": TEXTS + chunk("stop", more={"x_groq": {"usage": usage}}),
        "growing": chunk(content="a", more={"usage": {**usage, "completion_tokens": 2}})
        + chunk("stop", content="b", more={"usage": usage})
        + counted(prompt_tokens=0, completion_tokens=0),
    }
    result = outcome(lab, bodies[place] + DONE, "chunk by chunk")
    assert (result.outcome, result.prompt_tokens, result.cached_tokens) == ("ok", 30, 16)
    assert (result.output_tokens, result.output_counted, result.doubts) == (4, 2, ())


@pytest.mark.parametrize(
    ("usage", "expected", "doubts"),
    [
        ({"prompt_tokens": 30.0, "completion_tokens": "2"}, (30, None, 2), ()),
        ({"input_tokens": 30, "output_tokens": 2}, (30, None, 2), ()),
        ({"input_tokens": 14, "cache_read_input_tokens": 16, "output_tokens": 2}, (30, 16, 2), ()),
        ({"prompt_tokens": 2**53 + 1, "completion_tokens": 2}, (None, None, 2), ("beyond",)),
        ({"prompt_tokens": 10**400, "completion_tokens": 2}, (None, None, 2), ("beyond",)),
        ({"prompt_tokens": 30, "completion_tokens": 1e308}, (30, None, 2), ("beyond",)),
        ({"prompt_tokens": -1, "completion_tokens": 2}, (None, None, 2), ("beyond",)),
        ({"prompt_tokens": 30.5, "completion_tokens": 2}, (None, None, 2), ("beyond",)),
        ({"prompt_tokens": 30, "completion_tokens": 2, "cached_tokens": -3}, (30, None, 2), ("beyond",)),
        ({"prompt_tokens": 30, "completion_tokens": 2, "cached_tokens": 31}, (30, None, 2), ("cached",)),
        ({"prompt_tokens": 30, "completion_tokens": 2, "cached_tokens": 30}, (30, 30, 2), ()),
        ({"completion_tokens": 2, "cached_tokens": 33}, (None, None, 2), ("cached",)),
        ({"prompt_tokens": 0, "completion_tokens": 2}, (None, None, 2), ("prompt",)),
        ({"prompt_tokens": 10**15, "completion_tokens": 2}, (None, None, 2), ("prompt",)),
        ({"prompt_tokens": 30, "completion_tokens": 0}, (30, None, 2), ("output",)),
        ({"prompt_tokens": 30, "completion_tokens": 10**15}, (30, None, 2), ("output",)),
        ({"prompt_tokens": None, "completion_tokens": None}, (None, None, 2), ()),
    ],
)
def test_counts_are_held_against_what_was_sent_and_what_came(
    lab: SimpleNamespace,
    usage: dict[str, Any],
    expected: tuple[int | None, int | None, int | None],
    doubts: tuple[str, ...],
) -> None:
    result = outcome(lab, TEXTS + FINISH + counted(**usage) + DONE, "one chunk")
    assert result.outcome == "ok"
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == expected
    assert result.doubts == doubts


@pytest.mark.parametrize("how", FRAMINGS)
def test_a_whole_reply_behind_its_deltas_is_not_counted_again(lab: SimpleNamespace, how: str) -> None:
    message = {"role": "assistant", "content": "ab"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    parts = FRAMINGS[how](ROLE + TEXTS + data({"choices": [choice]}) + DONE)

    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(*parts)

    result = lab.ask(script)
    assert (result.outcome, result.reply, result.output_counted) == ("ok", "ab", 2)


def test_a_reply_that_cannot_be_read_disarms_no_timeout(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        await peer.request()
        bad = TEXTS + MALFORMED["text that is not UTF-8"]
        await peer.send(*chunked(bad if peer.number < 3 else TEXTS))
        await asyncio.sleep(8)

    async def main() -> list[str]:
        timeouts = {"connect_s": 5, "first_token_s": 5, "between_tokens_s": 0.3, "total_s": 5}
        async with lab.serving(script) as server, lab.targeting(server.url, timeouts=timeouts) as target:
            return [(await target.send(lab.make_turn())).outcome for _ in range(5)]

    assert lab.run(main) == ["malformed"] * 3 + ["timeout_between_tokens"] * 2


def test_an_exception_in_a_callback_ends_that_request_alone(lab: SimpleNamespace) -> None:
    def fail() -> None:
        raise RuntimeError("no room")

    async def main() -> list[tuple[str, str | None]]:
        async with lab.serving(lab.answer_well) as server, lab.targeting(server.url) as target:
            results = [await target.send(lab.make_turn(on_first_token=hook)) for hook in (None, fail, None)]
            return [(result.outcome, result.error) for result in results]

    (first, _), (second, words), (third, _) = lab.run(main)
    assert (first, second, third) == ("ok", "malformed", "ok")
    assert "RuntimeError: no room" in str(words)
