"""Anthropic's `/v1/messages` from the client's side: bodies with breakpoints, events, counts, headers."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.config.target import BREAKPOINTS_MAX, TargetConfig
from swarm.context.tree import Prompt
from swarm.live.targets.body import body_writer
from swarm.workload.agent import Context, SharedNodes

KEY = "sk-ant-do-not-show-me"


def body(prompt: Prompt, **changes: Any) -> dict[str, Any]:
    writer = body_writer(TargetConfig.model_validate({"model": "m", "api": "messages", **changes}))
    found: dict[str, Any] = json.loads(b"".join(writer.write(prompt, 17)))
    return found


def agent(shared: SharedNodes, name: str = "s1", *, tools: int = 1500, system: int = 300) -> Context:
    context = Context(name, shared.prefix("orchestrator", tools, system))
    context.append(700)
    return context


def answered(context: Context, text: str | None, more: int) -> None:
    """Let the agent have an answer of 10 tokens and append what follows."""
    if text is not None:
        context.tip.node.echo(context.length, context.length + 10, text)
    context.append(10 + more)


def plain(found: dict[str, Any]) -> list[str]:
    """Return the blocks of a prompt in their order, without breakpoints."""
    blocks = [*found.get("tools", ()), *found.get("system", ())]
    for message in found["messages"]:
        blocks += [{"role": message["role"], **block} for block in message["content"]]
    return [json.dumps({k: v for k, v in block.items() if k != "cache_control"}) for block in blocks]


def marks(found: dict[str, Any]) -> list[tuple[int, str]]:
    """Return how many blocks are up to each breakpoint, and its TTL."""
    blocks = [*found.get("tools", ()), *found.get("system", ())]
    blocks += [block for message in found["messages"] for block in message["content"]]
    return [
        (place, block["cache_control"].get("ttl", "5m"))
        for place, block in enumerate(blocks, 1)
        if "cache_control" in block
    ]


def test_tools_system_and_turns_are_apart_and_have_as_many_tokens_as_planned() -> None:
    context = agent(SharedNodes())
    answered(context, "said", 100)
    found = body(context.tip)
    assert list(found)[:3] == ["tools", "system", "messages"]
    assert [message["role"] for message in found["messages"]] == ["user", "assistant", "user"]
    counted = sum(
        len(orjson.dumps({k: v for k, v in tool.items() if k != "cache_control"})) for tool in found["tools"]
    )
    assert counted == 4 * 1500
    assert sum(len(block["text"]) for block in found["system"]) == 4 * 300
    assert len(found["tools"]) == 2
    assert len({tool["name"] for tool in found["tools"]}) == 2
    assert (found["max_tokens"], found["stream"], found["ignore_eos"]) == (17, True, True)
    assert "stream_options" not in found


def test_breakpoints_stand_after_tools_system_and_the_last_two_user_messages() -> None:
    context = agent(SharedNodes())
    for turn in range(3):
        answered(context, f"reply {turn}", 50)
    found = body(context.tip, cache_control={"tools": "1h", "system": "1h"})
    assert marks(found) == [(2, "1h"), (3, "1h"), (8, "5m"), (10, "5m")]
    assert marks(body(context.tip, cache_control=None)) == []
    few = body(context.tip, cache_control={"tools": None, "system": "1h", "turns": "1h", "last_turns": 1})
    assert marks(few) == [(3, "1h"), (10, "1h")]


def test_a_reply_at_the_end_is_marked_as_the_last_turn() -> None:
    context = agent(SharedNodes())
    answered(context, "said", 50)
    answered(context, "and said", 0)
    found = body(context.tip)
    assert [message["role"] for message in found["messages"]][-1] == "assistant"
    assert [place for place, _ in marks(found)] == [2, 3, 6, 7]


@given(
    first=st.integers(1, 9000),
    turns=st.lists(
        st.tuples(st.sampled_from(["a", 'it said "no"\n', "é", None]), st.integers(1, 5000)), max_size=5
    ),
    tools=st.sampled_from([0, 40, 100, 650, 1850]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_before_a_breakpoint_stays_the_same_when_it_moves_on(
    first: int, turns: list[tuple[str | None, int]], tools: int
) -> None:
    context = agent(SharedNodes(), tools=tools)
    context.append(first)
    before = body(context.tip)
    for text, more in turns:
        answered(context, text, more)
        after = body(context.tip)
        kept = [place for place, _ in marks(before)]
        assert len(kept) <= BREAKPOINTS_MAX
        # An answer that cannot be repeated joins the message before it, whose last block grows.
        place = kept[-1] if text is not None else kept[-1] - 1
        assert plain(after)[:place] == plain(before)[:place]
        before = after


def test_agents_of_a_role_share_their_opening_and_no_run_shares_with_another() -> None:
    shared = SharedNodes()
    one, other = agent(shared), agent(shared, "s2")
    opening = len(body(one.tip)["tools"]) + 1
    assert plain(body(one.tip))[:opening] == plain(body(other.tip))[:opening]
    config = TargetConfig.model_validate({"model": "m", "api": "messages"})
    runs = [json.loads(b"".join(body_writer(config, run).write(one.tip, 1))) for run in ("a", "b")]
    assert runs[0]["tools"][0]["name"] != runs[1]["tools"][0]["name"]


def test_tools_are_text_of_the_system_prompt_where_none_are_to_be_declared() -> None:
    found = body(agent(SharedNodes()).tip, tool_definition_tokens=0)
    assert "tools" not in found
    assert sum(len(block["text"]) for block in found["system"]) == 4 * 1800


@pytest.mark.parametrize("length", [1, 3, 4, 5, 99, 120, 1500, 1501, 1800])
def test_a_prompt_that_ends_in_its_opening_has_a_message(length: int) -> None:
    tip = SharedNodes().prefix("orchestrator", 1500, 300)
    cut = Prompt(tip.node if length > 1500 else tip.path()[0].node, length)
    found = body(cut)
    assert [message["role"] for message in found["messages"]] == ["user"]
    assert all(block["text"] for block in found["messages"][0]["content"])


# Events.


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":")).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def start(**usage: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": None}
    return event("message_start", message={**message, "usage": usage})


def delta(kind: str, member: str, text: str, index: int = 0) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, member: text})


def block(**members: Any) -> bytes:
    return event("content_block_start", index=0, content_block=members)


def end(reason: str | None, **usage: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)


TEXT = block(type="text", text="")
STOP = event("message_stop")


def script(*events: bytes) -> Callable[[Any], Any]:
    async def answer(peer: Any) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await peer.chunk(*events)
        await peer.send(b"0\r\n\r\n")

    return answer


def words(*texts: str) -> list[bytes]:
    return [delta("text_delta", "text", text) for text in texts]


def test_a_message_is_read_with_all_its_counts(lab: SimpleNamespace) -> None:
    written = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 7,
        "cache_creation": written,
        "output_tokens": 1,
    }
    result = lab.ask(
        script(start(**usage), TEXT, event("ping"), *words(" a", ' "b"', " c", " d"),
               event("content_block_stop", index=0), end("max_tokens", output_tokens=4), STOP),
        api="messages",
    )  # fmt: skip
    assert (result.outcome, result.finish_reason, result.reply) == ("ok", "max_tokens", ' a "b" c d')
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (32, 20, 4)
    assert (result.written_5m_tokens, result.written_1h_tokens) == (3, 4)
    assert result.output_counted == 4


@pytest.mark.parametrize(
    ("first", "last", "counts"),
    [
        ({"input_tokens": 30}, {"output_tokens": 2}, (30, None, None, 2)),
        ({"input_tokens": 10, "cache_read_input_tokens": 20}, {"input_tokens": 10, "output_tokens": 2},
         (30, 20, None, 2)),
        ({"input_tokens": 10, "cache_read_input_tokens": 20},
         {"input_tokens": 10, "cache_read_input_tokens": 0, "output_tokens": 0}, (30, 20, None, 2)),
        ({}, {"input_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 29,
              "output_tokens": 2}, (32, 0, 29, 2)),
        ({"input_tokens": 32, "cache_read_input_tokens": -1}, {"output_tokens": 2}, (None, None, None, 2)),
        ({"input_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 30},
          "cache_creation_input_tokens": 30}, {"output_tokens": 2}, (32, None, 30, 2)),
    ],
)  # fmt: skip
def test_the_last_counts_hold_and_a_zero_erases_nothing(
    lab: SimpleNamespace, first: dict[str, Any], last: dict[str, Any], counts: tuple[int | None, ...]
) -> None:
    result = lab.ask(
        script(start(**first), TEXT, *words("a", "b"), end("end_turn", **last), STOP), api="messages"
    )
    assert result.outcome == "ok"
    assert (
        result.prompt_tokens,
        result.cached_tokens,
        result.written_5m_tokens,
        result.output_tokens,
    ) == counts


@pytest.mark.parametrize(
    "first",
    [
        delta("text_delta", "text", "a"),
        delta("thinking_delta", "thinking", "hm"),
        delta("input_json_delta", "partial_json", '{"pa'),
        delta("novel_delta", "novelty", "x"),
        block(type="tool_use", id="toolu_1", name="read", input={}),
        block(type="redacted_thinking", data="Zm9v"),
        block(type="text", text="already"),
    ],
)
def test_the_first_token_is_text_thinking_or_a_call(lab: SimpleNamespace, first: bytes) -> None:
    silent = [
        start(input_tokens=30),
        event("ping"),
        TEXT,
        block(type="thinking", thinking="", signature=""),
        delta("text_delta", "text", ""),
        delta("signature_delta", "signature", "EqQB"),
        event("something_new", data="?"),
    ]
    closing = [end("tool_use", output_tokens=3), STOP]
    assert lab.ask(script(*silent, *closing), api="messages").first_token_s is None
    result = lab.ask(script(*silent, first, *closing), api="messages")
    assert (result.outcome, result.output_counted) == ("ok", 1)
    assert result.first_token_s is not None


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([*words("a"), end("end_turn")], "truncated", "without message_stop"),
        ([*words("a"), end("end_turn"), b"data: [DONE]\n\n"], "truncated", "without message_stop"),
        ([*words("a"), STOP], "truncated", "without a stop_reason"),
        ([*words("a"), end("gave_up"), STOP], "stream_error", "stop_reason 'gave_up'"),
        ([*words("a"), event("error", error={"type": "overloaded_error", "message": "Overloaded"})],
         "stream_error", "Overloaded (overloaded_error)"),
        ([*words("a"), event("error", error={"type": "x", "message": "late"}).replace(b"event: error\n", b""),
          end("end_turn"), STOP], "stream_error", "late"),
        ([end("end_turn", output_tokens=0), STOP], "empty", "end_turn"),
        ([event("content_block_delta", index=0, delta={"type": "text_delta", "text": 7})], "malformed", ""),
        ([b"event: message_delta\ndata: []\n\n"], "malformed", ""),
        ([*words("a"), b"event: message_delta\ndata: {\n\n"], "malformed", ""),
    ],
)  # fmt: skip
def test_what_is_no_whole_message_fails(
    lab: SimpleNamespace, events: list[bytes], kind: str, said: str
) -> None:
    result = lab.ask(script(start(input_tokens=30), TEXT, *events), api="messages")
    assert (result.outcome, said in (result.error or "")) == (kind, True), result.error


def test_a_refusal_may_be_empty(lab: SimpleNamespace) -> None:
    result = lab.ask(script(start(input_tokens=30), end("refusal", output_tokens=0), STOP), api="messages")
    assert (result.outcome, result.finish_reason) == ("ok", "refusal")


def test_requests_carry_the_key_and_the_version_as_anthropic_asks(
    lab: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_TEST_KEY", KEY)

    async def main() -> list[bytes]:
        async with lab.serving(lab.answer_well) as server:
            for headers in ({}, {"Anthropic-Version": "2099-01-01"}):
                changes = {"api": "messages", "api_key_env": "SWARM_TEST_KEY", "headers": headers}
                async with lab.targeting(server.url, **changes) as target:
                    await target.send(lab.make_turn())
            return [peer.requests[0][0] for peer in server.peers]

    first, second = lab.run(main)
    assert first.startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert b"\r\nx-api-key: " + KEY.encode() + b"\r\n" in first
    assert b"\r\nanthropic-version: 2023-06-01\r\n" in first
    assert b"authorization" not in first.lower()
    assert second.lower().count(b"anthropic-version") == 1
