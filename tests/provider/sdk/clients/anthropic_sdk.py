"""Anthropic's own SDK: messages, streams, tools for 50 turns, caches, structured output, errors."""

import sys

import anthropic
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


TOOL = {
    "name": "weather",
    "description": "Weather of a place",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
        "required": ["place", "unit"],
    },
}
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
MODEL = client.models.list().data[0].id
USER = [{"role": "user", "content": "How is the weather?"}]


def messages() -> None:
    answer = client.messages.create(model=MODEL, max_tokens=20, messages=USER)
    assert answer.usage.output_tokens == 20 and answer.stop_reason == "max_tokens"
    free = client.messages.create(model=MODEL, max_tokens=4000, messages=USER)
    assert free.stop_reason == "end_turn" and free.usage.output_tokens < 4000
    full = client.messages.create(model=MODEL, max_tokens=300, messages=USER, extra_body={"ignore_eos": True})
    assert full.usage.output_tokens == 300
    count = client.messages.count_tokens(model=MODEL, messages=USER, tools=[TOOL]).input_tokens
    asked = client.messages.create(model=MODEL, max_tokens=9, messages=USER, tools=[TOOL]).usage
    assert asked.input_tokens + asked.cache_read_input_tokens == count
    with client.messages.stream(model=MODEL, max_tokens=12, messages=USER) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text and final.usage.output_tokens == 12
    word = text.split()[5]
    stopped = client.messages.create(model=MODEL, max_tokens=50, messages=USER, stop_sequences=[" "])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " "), word


def tools_for_50_turns() -> None:
    messages = list(USER)
    for turn in range(50):
        answer = client.messages.create(
            model=MODEL, max_tokens=1000, messages=messages, tools=[TOOL], tool_choice={"type": "any"}
        )
        assert answer.stop_reason == "tool_use"
        assert {call.input["unit"] for call in answer.content} <= {"C", "F"}
        assert not turn or answer.usage.input_tokens < 128, answer.usage
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"sunny {turn}"}
            for call in answer.content
        ]
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    with client.messages.stream(
        model=MODEL,
        max_tokens=1000,
        messages=messages,
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "weather"},
    ) as stream:
        final = stream.get_final_message()
    assert final.content[0].input["place"] and final.stop_reason == "tool_use"


def several_tools_at_once() -> None:
    def calls(**more: object) -> list[int]:
        found = []
        for _ in range(20):
            with client.messages.stream(
                model=MODEL,
                max_tokens=1000,
                messages=USER,
                tools=[TOOL],
                tool_choice={"type": "any", **more},
            ) as stream:
                content = stream.get_final_message().content
            assert all(block.input["unit"] in ("C", "F") for block in content)
            found.append(len(content))
        return found

    assert max(calls()) > 1
    assert set(calls(disable_parallel_tool_use=True)) == {1}


def caches() -> None:
    def ask(turn: str) -> anthropic.types.Usage:
        system = [{"type": "text", "text": "s" * 8000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        content = [{"type": "text", "text": "u" * 4000 + turn, "cache_control": {"type": "ephemeral"}}]
        return client.messages.create(
            model=MODEL, max_tokens=1, system=system, messages=[{"role": "user", "content": content}]
        ).usage

    first, second = ask("a"), ask("a")
    assert first.cache_creation.ephemeral_1h_input_tokens == 2000
    assert first.cache_creation.ephemeral_5m_input_tokens == 1001
    assert first.cache_creation_input_tokens == 3001 and first.input_tokens == 0
    assert second.cache_read_input_tokens == 2992
    assert second.cache_read_input_tokens + second.cache_creation_input_tokens + second.input_tokens == 3001


def structured() -> None:
    answer = client.messages.parse(model=MODEL, max_tokens=1000, messages=USER, output_format=City)
    assert isinstance(answer.parsed_output, City)


def errors() -> None:
    for wanted, body, words in (
        (
            anthropic.BadRequestError,
            {"messages": [{"role": "user", "content": "x" * 5_000_000}]},
            "prompt is too long",
        ),
        (anthropic.BadRequestError, {"messages": []}, "messages"),
    ):
        try:
            client.messages.create(model=MODEL, max_tokens=1, **body)
        except wanted as error:
            assert words in error.body["error"]["message"] and error.request_id
        else:
            raise AssertionError(wanted)


for part in (messages, tools_for_50_turns, several_tools_at_once, caches, structured, errors):
    part()
print("ok")
