"""Chats and completions beyond plain text: several replies, tools, forms, chances, identities, names."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USER = [{"role": "user", "content": "x" * 640}]


def ask(desk: SimpleNamespace, path: str, *bodies: dict[str, Any], **fleet: Any) -> list[Any]:
    """Return the answers to bodies, one after the other."""

    async def main() -> list[Any]:
        async with desk.serving(desk.fleet(**fleet)) as served:
            return [await served.client.post(path, json=body) for body in bodies]

    return list(desk.run(main))


def cached(answer: Any) -> int:
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("stream", [False, True])
def test_several_prompts_and_replies_are_as_many_choices(desk: SimpleNamespace, stream: bool) -> None:
    body = {"prompt": ["abc", "defg"], "n": 2, "max_tokens": 3, "stream": stream}
    (answer,) = ask(desk, COMPLETIONS, body | ({"stream_options": {"include_usage": True}} if stream else {}))
    parts = desk.events(answer.text) if stream else [answer.json()]
    choices = [choice for part in parts for choice in part["choices"]]
    texts = ["".join(choice["text"] for choice in choices if choice["index"] == place) for place in range(4)]
    assert len(set(texts)) == 4 and all(len(text.split()) == 3 for text in texts)
    assert (parts[-1]["usage"]["prompt_tokens"], parts[-1]["usage"]["completion_tokens"]) == (2, 12)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_says_the_same(desk: SimpleNamespace, seed: int) -> None:
    body = {"messages": USER, "max_tokens": 9}
    answers = ask(desk, CHAT, body | {"seed": seed}, body | {"seed": seed}, body | {"seed": seed + 1}, body)
    texts = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_a_stop_word_ends_a_reply_and_is_not_told(desk: SimpleNamespace) -> None:
    body = {"prompt": "abc", "max_tokens": 40, "seed": 3}
    text = ask(desk, COMPLETIONS, body)[0].json()["choices"][0]["text"]
    word = text.split()[20]
    answer = ask(desk, COMPLETIONS, body | {"stop": [word, "~"]})[0].json()
    choice = answer["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (text[: text.index(word)], "stop")
    assert answer["usage"]["completion_tokens"] == -(-(text.index(word) + len(word)) // 4)


def test_echo_repeats_the_prompt_and_chances_cover_it(desk: SimpleNamespace) -> None:
    body = {"prompt": "abcdefgh", "max_tokens": 2, "echo": True, "logprobs": 2}
    choice = ask(desk, COMPLETIONS, body)[0].json()["choices"][0]
    told = choice["logprobs"]
    assert "".join(told["tokens"]) == choice["text"] and choice["text"].startswith("abcdefgh")
    assert told["token_logprobs"][0] is None and max(told["token_logprobs"][1:]) < 0
    assert told["text_offset"] == [0, 4, 8, 12]
    assert [len(likeliest) for likeliest in told["top_logprobs"][1:]] == [2, 2, 2]


def test_chances_of_a_chat_are_those_of_its_tokens(desk: SimpleNamespace) -> None:
    body = {"messages": USER, "max_tokens": 3, "logprobs": True, "top_logprobs": 4}
    choice = ask(desk, CHAT, body)[0].json()["choices"][0]
    told = choice["logprobs"]["content"]
    assert "".join(each["token"] for each in told) == choice["message"]["content"]
    for each in told:
        assert bytes(each["bytes"]).decode() == each["token"]
        chances = [one["logprob"] for one in each["top_logprobs"]]
        assert chances == sorted(chances, reverse=True) and chances[0] == each["logprob"]


SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "pattern": "^src/[a-z]{3,8}\\.py$"},
        "lines": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2},
        "mode": {"anyOf": [{"const": "r"}, {"$ref": "#/$defs/mode"}]},
    },
    "required": ["path", "lines", "mode"],
    "additionalProperties": False,
    "$defs": {"mode": {"enum": ["w", "a"]}},
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_fits_its_schema_streamed_or_whole(desk: SimpleNamespace, stream: bool) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
    body = {"messages": USER, "tools": [tool], "tool_choice": "required", "stream": stream}
    (answer,) = ask(desk, CHAT, body)
    if stream:
        choices = [part["choices"][0] for part in desk.events(answer.text)]
        calls = [choice["delta"]["tool_calls"][0] for choice in choices if choice["delta"].get("tool_calls")]
        name, reason = calls[0]["function"]["name"], choices[-1]["finish_reason"]
        text = "".join(call["function"]["arguments"] for call in calls)
    else:
        choice = answer.json()["choices"][0]
        called = choice["message"]["tool_calls"][0]["function"]
        name, reason, text = called["name"], choice["finish_reason"], called["arguments"]
    assert (name, reason) == ("look", "tool_calls")
    Draft202012Validator(SCHEMA).validate(json.loads(text))


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"response_format": {"type": "json_object"}}, {"type": "object"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
            SCHEMA,
        ),
        ({"guided_json": SCHEMA}, SCHEMA),
        ({"structured_outputs": {"json": SCHEMA}}, SCHEMA),
    ],
)
def test_a_reply_in_a_form_parses_and_fits(
    desk: SimpleNamespace, form: dict[str, Any], schema: dict[str, Any]
) -> None:
    (answer,) = ask(desk, CHAT, {"messages": USER, **form})
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    Draft202012Validator(schema).validate(json.loads(choice["message"]["content"]))


def tools(*names: str) -> list[dict[str, Any]]:
    schema = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
    return [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]


@pytest.mark.parametrize(
    ("serving", "expected"),
    [
        ({"tool_call_rate": 0.0}, set()),
        ({"tool_call_rate": 1.0}, set()),
        ({"tool_call_rate": 1.0, "tool_arguments": {"bash": {"command": ["ls", "pwd"]}}}, {"ls", "pwd"}),
    ],
)
def test_a_tool_that_runs_things_is_called_with_listed_values_alone(
    desk: SimpleNamespace, serving: dict[str, Any], expected: set[str]
) -> None:
    bodies = [{"messages": USER, "max_tokens": 50, "tools": tools("bash", "exec")}] * 12
    answers = ask(desk, CHAT, *bodies, serving=serving)
    calls = [answer.json()["choices"][0]["message"].get("tool_calls") for answer in answers]
    found = {json.loads(call[0]["function"]["arguments"])["command"] for call in calls if call}
    assert found == expected


def test_who_wants_every_token_gets_text(desk: SimpleNamespace) -> None:
    body = {"messages": USER, "max_tokens": 30, "ignore_eos": True, "tools": tools("look")}
    (answer,) = ask(desk, CHAT, body, serving={"tool_call_rate": 1.0})
    assert answer.json()["usage"]["completion_tokens"] == 30


@pytest.mark.parametrize(
    ("other", "hits"),
    [
        ({}, 156),
        ({"cache_salt": "b"}, 0),
        ({"model": "fleet"}, 156),
        ({"model": "alias"}, 156),
        ({"model": "adapter"}, 0),
        ({"messages": [{"role": "system", "content": "x" * 640}]}, 0),
        ({"messages": [{"role": "user", "content": "x" * 320}] * 2}, 80),
    ],
)
def test_what_differs_beside_content_shares_no_block(
    desk: SimpleNamespace, other: dict[str, Any], hits: int
) -> None:
    body = {"messages": USER, "max_tokens": 1}
    serving = {"models": ["alias"], "adapters": ["adapter"]}
    assert cached(ask(desk, CHAT, body, body | other, serving=serving)[1]) == hits


def test_a_template_costs_what_it_says(desk: SimpleNamespace) -> None:
    body = {"messages": [*USER, {"role": "assistant", "content": "abcd"}, *USER], "max_tokens": 1}
    (answer,) = ask(desk, CHAT, body, serving={"chat_template_tokens": 5})
    # Three messages and the beginning of the reply.
    assert answer.json()["usage"]["prompt_tokens"] == 160 + 1 + 160 + 4 * 5


def test_unknown_models_are_refused_if_asked(desk: SimpleNamespace) -> None:
    bodies = [{"messages": USER, "max_tokens": 1, "model": name} for name in ("fleet", "alias", "other")]
    answers = ask(desk, CHAT, *bodies, serving={"models": ["alias"], "refuse_unknown_models": True})
    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert answers[2].json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "banana", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*USER, {"role": "user", "content": None}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "banana"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": USER, "max_tokens": -1}, "max_tokens"),
        ({"messages": USER, "max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"messages": USER, "temperature": 3}, "temperature"),
        ({"messages": USER, "top_logprobs": 3}, "top_logprobs"),
        ({"messages": USER, "tool_choice": "required"}, "tool_choice"),
        ({"messages": USER, "tools": [{"type": "function"}]}, "tools[0].function"),
        ({"messages": USER, "response_format": {"type": "xml"}}, "response_format.type"),
        ({"messages": USER, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"messages": USER, "stream_options": {}}, "stream_options"),
        ({"messages": USER, "max_tokens": 999}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "x" * 9999}]}, "messages"),
    ],
)
def test_an_error_names_the_member_at_fault(desk: SimpleNamespace, body: dict[str, Any], param: str) -> None:
    (answer,) = ask(desk, CHAT, body, max_model_len=1000)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("wanted", [841, 300_000])
def test_more_than_the_context_holds_is_refused_in_its_words(desk: SimpleNamespace, wanted: int) -> None:
    """Also where it is more than any reply is given: clients look for the context's length."""
    (answer,) = ask(desk, CHAT, {"messages": USER, "max_tokens": wanted}, max_model_len=1000)
    error = answer.json()["error"]
    assert error["message"].startswith("This model's maximum context length is 1000 tokens. However")
    assert (error["param"], error["code"]) == ("max_tokens", "context_length_exceeded")


def test_a_length_that_is_not_named_is_what_is_left_at_most(desk: SimpleNamespace) -> None:
    (answer,) = ask(desk, CHAT, {"messages": USER}, max_model_len=200)
    assert answer.json()["usage"]["completion_tokens"] == 40


@pytest.mark.parametrize("text", ["hello", "wörld ✓", "", "a" * 100])
def test_text_comes_back_from_its_tokens(desk: SimpleNamespace, text: str) -> None:
    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with desk.serving() as served:
            there = (await served.client.post("/tokenize", json={"prompt": text})).json()
            back = await served.client.post("/detokenize", json={"tokens": there["tokens"]})
            return there, back.json()

    there, back = desk.run(main)
    assert (there["count"], back["prompt"]) == (-(-len(text.encode()) // 4), text)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"include_usage": True, "continuous_usage_stats": True}, [0, 1, 2, 3, 3, 3]),
        ({"include_usage": True}, [None, None, None, None, None, 3]),
        ({"continuous_usage_stats": True}, [None] * 5),
    ],
)
def test_usage_comes_along_with_each_event_if_asked(
    desk: SimpleNamespace, options: dict[str, bool], expected: list[int | None]
) -> None:
    body = {"messages": USER, "max_tokens": 3, "stream": True, "stream_options": options}
    (answer,) = ask(desk, CHAT, body)
    told = [part.get("usage") for part in desk.events(answer.text)]
    assert [usage and usage["completion_tokens"] for usage in told] == expected
    assert {usage["prompt_tokens"] for usage in told if usage} <= {160}


def test_usage_with_each_event_is_of_its_own_prompt(desk: SimpleNamespace) -> None:
    stream = {"include_usage": True, "continuous_usage_stats": True}
    body = {"prompt": ["x" * 4_000, "y" * 40], "echo": True, "max_tokens": 2}
    (answer,) = ask(desk, "/v1/completions", {**body, "stream": True, "stream_options": stream})
    told = [
        (part["choices"][0]["index"], part["usage"]["prompt_tokens"], part["usage"]["completion_tokens"])
        for part in desk.events(answer.text)
        if part["choices"]
    ]
    prompts = (1_000, 10)
    assert sorted(told) == [(at, prompts[at], said) for at in (0, 1) for said in (0, 1, 2, 2)]
