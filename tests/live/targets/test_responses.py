"""OpenAI's `/v1/responses` from the client's side: bodies, events, counts."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from swarm.config.target import TargetConfig
from swarm.live.targets.body import body_writer
from swarm.workload.agent import Context, SharedNodes


def event(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members, "sequence_number": 1}, separators=(",", ":")).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def delta(text: str, kind: str = "output_text") -> bytes:
    return event(f"response.{kind}.delta", item_id="i", output_index=0, delta=text)


def closing(state: str, usage: Any = None, **members: Any) -> bytes:
    response = {"id": "r", "status": state, "usage": usage, **members}
    return event(f"response.{state}", response=response)


USAGE = {
    "input_tokens": 32,
    "input_tokens_details": {"cached_tokens": 20},
    "output_tokens": 2,
    "total_tokens": 34,
}
DONE = closing("completed", USAGE)
CREATED = closing("created").replace(b'"status":"created"', b'"status":"in_progress"')


def script(*events: bytes) -> Callable[[Any], Any]:
    async def answer(peer: Any) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await peer.chunk(CREATED, *events)
        await peer.send(b"0\r\n\r\n")

    return answer


def test_tools_instructions_and_input_are_apart_and_nothing_is_kept() -> None:
    context = Context("s1", SharedNodes().prefix("orchestrator", 1500, 300))
    context.append(700)
    context.tip.node.echo(context.length, context.length + 10, 'it said "no"')
    context.append(10 + 50)
    writer = body_writer(TargetConfig.model_validate({"model": "m", "api": "responses"}))
    found = json.loads(b"".join(writer.write(context.tip, 17)))
    assert list(found)[:3] == ["tools", "instructions", "input"]
    assert len(orjson.dumps(found["tools"])) == 4 * 1500
    assert len(found["instructions"]) == 4 * 300
    assert [item["role"] for item in found["input"]] == ["user", "assistant", "user"]
    assert found["input"][1]["content"] == 'it said "no"'
    assert (found["store"], found["stream"], found["max_output_tokens"]) == (False, True, 17)
    assert not {"stream_options", "max_tokens"} & set(found)


def test_a_response_is_read_with_all_its_counts(lab: SimpleNamespace) -> None:
    result = lab.ask(script(delta(" a"), delta(' "b"'), event("response.output_text.done", text="x"), DONE),
                     api="responses")  # fmt: skip
    assert (result.outcome, result.finish_reason, result.reply) == ("ok", "completed", ' a "b"')
    assert (result.prompt_tokens, result.cached_tokens, result.output_tokens) == (32, 20, 2)
    assert (result.written_5m_tokens, result.output_counted) == (None, 2)


@pytest.mark.parametrize(
    "first",
    [
        delta("a"),
        delta("hm", "reasoning_text"),
        delta("hm", "reasoning_summary_text"),
        delta("no", "refusal"),
        delta('{"a"', "function_call_arguments"),
        event("response.output_item.added", item={"type": "function_call", "name": "read", "arguments": ""}),
    ],
)
def test_the_first_token_is_text_thinking_or_a_call(lab: SimpleNamespace, first: bytes) -> None:
    silent = [
        event("response.output_item.added", item={"type": "message", "content": []}),
        event("response.content_part.added", part={"type": "output_text", "text": ""}),
        delta(""),
        event("response.novel", data="?"),
    ]
    assert lab.ask(script(*silent, DONE), api="responses").first_token_s is None
    result = lab.ask(script(*silent, first, DONE), api="responses")
    assert (result.outcome, result.output_counted) == ("ok", 1)


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([delta("a")], "truncated", "without a response.completed"),
        ([delta("a"), b"data: [DONE]\n\n"], "truncated", "without a response.completed"),
        ([closing("completed", {"input_tokens": 32, "output_tokens": 0})], "empty", "completed"),
        ([delta("a"), closing("failed", error={"code": "server_error", "message": "gone"})],
         "stream_error", "gone (server_error)"),
        ([delta("a"), closing("failed", error={"message": "gone"}).replace(b"event: response.failed\n", b"")],
         "stream_error", "gone"),
        ([delta("a"), event("error", code="rate", message="slow down", param=None)],
         "stream_error", "slow down"),
        ([delta("a"), closing("incomplete")], "stream_error", "incomplete"),
        ([delta("a"), closing("incomplete", incomplete_details={"reason": "meteor"})],
         "stream_error", "meteor"),
        ([delta("a"), closing("completed", status="in_progress")], "stream_error", "in_progress"),
        ([delta("a"), event("response.completed", response=None)], "malformed", ""),
    ],
)  # fmt: skip
def test_what_is_no_whole_response_fails(
    lab: SimpleNamespace, events: list[bytes], kind: str, said: str
) -> None:
    result = lab.ask(script(*events), api="responses")
    assert (result.outcome, said in (result.error or "")) == (kind, True), result.error


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_an_incomplete_response_says_why(lab: SimpleNamespace, reason: str) -> None:
    last = closing("incomplete", USAGE, incomplete_details={"reason": reason})
    result = lab.ask(script(delta("a"), last), api="responses")
    assert (result.outcome, result.finish_reason, result.cached_tokens) == ("ok", reason, 20)
