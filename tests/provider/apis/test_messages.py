"""Messages: what is read, what is told, event by event, by Anthropic's documentation."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

USER = [{"role": "user", "content": "x" * 640}]
TOOL = {
    "name": "look",
    "input_schema": {"type": "object", "properties": {"at": {"enum": ["a"]}}, "required": ["at"]},
}


def ask(
    desk: SimpleNamespace, *bodies: dict[str, Any], path: str = "/v1/messages", **fleet: Any
) -> list[Any]:
    """Return the answers to bodies, one after the other."""

    async def main() -> list[Any]:
        async with desk.serving(desk.fleet(**fleet)) as served:
            whole = [{"max_tokens": 3, "messages": USER, **body} for body in bodies]
            return [await served.client.post(path, json=body) for body in whole]

    return list(desk.run(main))


def kept(text: str, ttl: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}}


def test_a_message_has_the_documented_members(desk: SimpleNamespace) -> None:
    (answer,) = ask(desk, {})
    found = answer.json()
    assert {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"} == set(found)
    assert (found["type"], found["role"], found["stop_reason"]) == ("message", "assistant", "max_tokens")
    assert [block["type"] for block in found["content"]] == ["text"]
    assert answer.headers["request-id"].startswith("req_")


def test_events_come_in_the_documented_order(desk: SimpleNamespace) -> None:
    (answer,) = ask(desk, {"stream": True})
    parts = [part.split("\n") for part in answer.text.strip().split("\n\n")]
    names = [part[0].removeprefix("event: ") for part in parts]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [json.loads(part[1].removeprefix("data: "))["type"] for part in parts] == names


@pytest.mark.parametrize(
    ("body", "reason", "tokens"),
    [
        ({"max_tokens": 500}, "end_turn", 128),
        ({"max_tokens": 500, "ignore_eos": True}, "max_tokens", 500),
        ({"max_tokens": 500, "min_tokens": 500}, "max_tokens", 500),
        ({"max_tokens": 50}, "max_tokens", 50),
        ({"stop_sequences": [" "]}, "stop_sequence", 1),
    ],
)
def test_a_bound_is_no_wish(desk: SimpleNamespace, body: dict[str, Any], reason: str, tokens: int) -> None:
    found = ask(desk, body)[0].json()
    assert (found["stop_reason"], found["usage"]["output_tokens"]) == (reason, tokens)


def test_what_is_written_is_told_by_ttl_and_all_parts_are_the_prompt(desk: SimpleNamespace) -> None:
    body = {
        "system": [kept("s" * 400, "1h")],
        "messages": [{"role": "user", "content": [kept("u" * 80, "5m"), {"type": "text", "text": "r" * 40}]}],
    }
    first, second = (answer.json()["usage"] for answer in ask(desk, body, body))
    assert first["cache_creation"] == {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 100}
    assert (first["cache_creation_input_tokens"], first["input_tokens"]) == (120, 10)
    # 130 tokens less the last one, in blocks of 4.
    assert second["cache_read_input_tokens"] == 128
    for usage in (first, second):
        parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        assert sum(usage[part] for part in parts) == 130


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("fleet", (100, 130)),
        ("claude-small", (0, 130)),
        ("claude-large", (0, 0)),
        ("claude-other", (100, 130)),
    ],
)
def test_breakpoints_below_what_a_model_caches_are_ignored(
    desk: SimpleNamespace, model: str, written: tuple[int, int]
) -> None:
    serving = {"cacheable_tokens_least": {"claude-": 100, "claude-small": 110, "claude-large": 131}}
    found = []
    for content in ("u" * 120, [kept("u" * 120, "5m")]):
        body = {
            "model": model,
            "system": [kept("s" * 400, "1h")],
            "messages": [{"role": "user", "content": content}],
        }
        (answer,) = ask(desk, body, serving=serving)
        usage = answer.json()["usage"]
        assert usage["input_tokens"] + usage["cache_creation_input_tokens"] == 130
        found.append(usage["cache_creation_input_tokens"])
    assert tuple(found) == written


def test_a_loop_of_calls_finds_what_it_said_before(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving(desk.fleet(block_tokens=1)) as served:
            messages, computed = list(USER), []
            for turn in range(5):
                body = {
                    "max_tokens": 100,
                    "messages": messages,
                    "tools": [TOOL],
                    "tool_choice": {"type": "any"},
                }
                answer = (await served.client.post("/v1/messages", json=body)).json()
                usage = answer["usage"]
                computed.append(usage["input_tokens"])
                result = {
                    "type": "tool_result",
                    "tool_use_id": answer["content"][0]["id"],
                    "content": f"{turn:04}",
                }
                messages += [
                    {"role": "assistant", "content": answer["content"]},
                    {"role": "user", "content": [result]},
                ]
            return computed

    # Of each later prompt new are the result, one token, and the call's last one, which was never computed.
    assert desk.run(main)[1:] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": None},
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "banana", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "banana"}]}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
            ]
        },
        {"temperature": 1.5},
        {"tools": [{"name": "f"}]},
        {"tool_choice": {"type": "any"}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}},
        {"system": [kept("a", "5m"), kept("b", "1h")]},
        {"system": [kept("a", "5m")] * 5},
        {"system": [kept("a", "7m")]},
        {"system": [kept("", "5m")]},
    ],
)
def test_nonsense_is_refused_in_anthropics_shape(desk: SimpleNamespace, body: dict[str, Any]) -> None:
    (answer,) = ask(desk, body)
    assert answer.status_code == 400
    found = answer.json()
    assert (found["type"], found["error"]["type"]) == ("error", "invalid_request_error")
    assert found["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"messages": [{"role": "user", "content": "x" * 4000}]},
            "prompt is too long: 1000 tokens > 500 maximum",
        ),
        ({"max_tokens": 400}, "input length and `max_tokens` exceed context limit: 160 + 400 > 500"),
    ],
)
def test_what_does_not_fit_is_said_in_the_words_that_clients_look_for(
    desk: SimpleNamespace, body: dict[str, Any], words: str
) -> None:
    (answer,) = ask(desk, body, max_model_len=500)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_key_may_come_in_anthropics_header(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving(key="secret") as served:
            body = {"max_tokens": 1, "messages": USER}
            found = []
            for key in ("secret", "wrong"):
                headers = {"x-api-key": key}
                found.append(
                    (await served.client.post("/v1/messages", json=body, headers=headers)).status_code
                )
            return found

    assert desk.run(main) == [200, 401]


def test_tokens_are_counted_as_a_message_counts_them(desk: SimpleNamespace) -> None:
    body = {"system": "be brief", "tools": [TOOL]}
    (counted,) = ask(desk, body, path="/v1/messages/count_tokens")
    (asked,) = ask(desk, {**body, "max_tokens": 1})
    assert counted.json() == {"input_tokens": asked.json()["usage"]["input_tokens"]}
