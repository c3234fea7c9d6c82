"""What is read out of an OpenAI stream."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.context.tree import root
from swarm.live.targets.reading.delta import Reading
from swarm.live.targets.turn import TurnResult


def event(message: Any, **how: Any) -> bytes:
    return b"data: " + json.dumps(message, **how).encode() + b"\n\n"


def choice(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def answer(lab: SimpleNamespace, *events: bytes, turn: Any = None, **changes: Any) -> Any:
    async def script(peer: Any) -> None:
        await peer.request()
        await peer.send(lab.SSE_HEAD)
        for each in events:
            await peer.chunk(each)
        await peer.send(b"0\r\n\r\n")

    return lab.ask(script, turn, **changes)


def test_a_whole_answer(lab: SimpleNamespace) -> None:
    result = answer(
        lab,
        event(choice(role="assistant", content="")),
        event(choice(content="Hello")),
        event(choice(content=", world", finish="length")),
        lab.usage(100, 7, 64),
        lab.DONE,
    )
    assert (result.outcome, result.finish_reason, result.reply) == ("ok", "length", "Hello, world")
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (100, 64, 7)
    assert result.output_counted == len(result.token_times) == 2
    times = (
        result.sent_s,
        result.first_byte_s,
        result.first_token_s,
        result.last_token_s,
        result.completed_s,
    )
    assert list(times) == sorted(times)
    assert (result.attempts, result.reconnects, result.retry_wait_s) == (1, 0, 0.0)


def test_what_a_server_does_not_say_is_unknown(lab: SimpleNamespace) -> None:
    result = answer(
        lab, event(choice(content="a")), event(choice(content="b")), event(choice(finish="stop")), lab.DONE
    )
    assert (result.prompt_tokens, result.cached_tokens) == (None, None)
    assert result.output_tokens == 2, "without usage the deltas are counted"


def test_usage_without_cache_details_leaves_cached_unknown(lab: SimpleNamespace) -> None:
    result = answer(lab, event(choice(content="a", finish="stop")), lab.usage(5, 1), lab.DONE)
    assert (result.prompt_tokens, result.cached_tokens) == (5, None)


@pytest.mark.parametrize(
    ("deltas", "counted", "reply"),
    [
        ([{"role": "assistant"}, {"content": None}, {"content": ""}, {"content": "x"}], 1, "x"),
        (
            [{"reasoning_content": "hm"}, {"reasoning_content": "m"}, {"content": "x"}, {"content": "y"}],
            4,
            "xy",
        ),
        ([{"reasoning": "hm", "content": ""}, {"reasoning": "m", "content": "x"}, {"content": "y"}], 3, "xy"),
        ([{"tool_calls": [{"function": {"name": "f", "arguments": ""}}]}, {"content": "x"}], 2, "x"),
        ([{"content": 'say "no"'}, {"content": "\\"}, {"content": "line\n"}], 3, 'say "no"\\line\n'),
        ([{"content": "\ud83d"}, {"content": "\ude00"}], 2, "\U0001f600"),
        ([{"content": 'a "content":"" b'}, {"content": '"content":"c"'}], 2, 'a "content":"" b"content":"c"'),
        ([{"content": "é"}, {"content": "}"}], 2, "é}"),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_deltas_are_counted_and_kept(
    lab: SimpleNamespace,
    deltas: list[dict[str, Any]],
    counted: int,
    reply: str,
    separators: tuple[str, str],
    ensure_ascii: bool,
) -> None:
    if not ensure_ascii and "\\ud8" in repr(deltas):
        pytest.skip("half a surrogate pair has no UTF-8")
    how = {"separators": separators, "ensure_ascii": ensure_ascii}
    events = [event(choice(**delta), **how) for delta in deltas]
    result = answer(lab, *events, event(choice(finish="stop"), **how), lab.DONE)
    assert (result.outcome, result.output_counted, result.reply) == ("ok", counted, reply)


def test_a_role_is_no_first_token(lab: SimpleNamespace) -> None:
    result = answer(lab, event(choice(role="assistant", content="")), event(choice(finish="stop")), lab.DONE)
    assert (result.outcome, result.first_token_s, result.output_counted) == ("empty", None, 0)


def test_deltas_of_one_read_are_merged_and_said_to_be(lab: SimpleNamespace) -> None:
    result = answer(lab, event(choice(content="a")) * 5, event(choice(finish="stop")) + lab.DONE)
    assert result.merged_reads == 1
    assert len(set(result.token_times)) == 1
    assert result.output_counted == 5


def test_ids_of_a_reply_are_kept_as_ids(lab: SimpleNamespace) -> None:
    def ids(*found: int) -> bytes:
        return event({"choices": [{"index": 0, "text": "xy", "token_ids": found, "finish_reason": None}]})

    turn = lab.make_turn()
    spaced = answer(lab, ids(5, 6), ids(7), lab.DONE, turn=turn, api="token_ids")
    tight = answer(
        lab, ids(5, 6).replace(b" ", b"").replace(b"data:", b"data: "), lab.DONE, turn=turn, api="token_ids"
    )
    assert (spaced.reply, tight.reply) == ("5,6,7", "5,6")


def test_replies_are_dropped_when_not_asked_for(lab: SimpleNamespace) -> None:
    assert (
        answer(lab, event(choice(content="a")), lab.DONE, turn=lab.make_turn(keep_reply=False)).reply is None
    )


@pytest.mark.parametrize(
    ("event", "cached"),
    [
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}}, 4),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}}, 0),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": {}}}, None),
        ({"usage": {"prompt_tokens": 9, "prompt_tokens_details": None}}, None),
        ({"usage": {"prompt_tokens": 9, "cached_tokens": 5}}, 5),
        ({"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 6, "prompt_cache_miss_tokens": 3}}, 6),
        ({"choices": [], "timings": {"cache_n": 7, "prompt_n": 2}}, 7),
        ({"usage": {"prompt_tokens": 9}}, None),
    ],
)
def test_cached_tokens_in_the_shapes_servers_use(event: dict[str, object], cached: int | None) -> None:
    result = TurnResult()
    Reading(result).take(json.dumps(event).encode())
    assert result.cached_tokens == cached


def test_a_request_is_written_between_its_first_byte_and_the_answer(lab: SimpleNamespace) -> None:
    async def main() -> Any:
        async def script(peer: Any) -> None:
            await peer.request()
            await peer.send(lab.SSE_HEAD)
            await peer.chunk(lab.delta("a", finish_reason="stop"), lab.usage(9, 1), lab.DONE)
            await peer.send(b"0\r\n\r\n")

        async with lab.serving(script) as server, lab.targeting(server.url) as target:
            # More than a socket's buffer takes at once.
            return await target.send(lab.make_turn(root("long").extend(2_000_000)))

    result = lab.run(main)
    assert result.outcome == "ok"
    assert result.sent_s < result.written_s < result.first_byte_s
