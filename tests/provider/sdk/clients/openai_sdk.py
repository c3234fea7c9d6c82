"""OpenAI's own SDK: chat, streams, tools for 50 turns, structured output, errors, usage, responses."""

import json
import sys

import openai
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int
    tags: list[str]
    mayor: str | None = None


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
            },
            "required": ["place", "days"],
            "additionalProperties": False,
        },
    },
}
client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
MODEL = client.models.list().data[0].id
assert client.models.retrieve(MODEL).id == MODEL
USER = [{"role": "user", "content": "How is the weather?"}]


def chat_and_stream() -> None:
    whole = client.chat.completions.create(model=MODEL, messages=USER, max_tokens=20)
    assert whole.usage.completion_tokens == 20 and whole.choices[0].finish_reason == "length"
    assert len(whole.choices[0].message.content.split()) == 20
    free = client.chat.completions.create(model=MODEL, messages=USER)
    assert free.choices[0].finish_reason == "stop"
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=USER, max_tokens=12, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage.completion_tokens == 12
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks if chunk.choices) == 12
    with client.chat.completions.stream(model=MODEL, messages=USER) as stream:
        events = list(stream)
        assert stream.get_final_completion().choices[0].message.content
    assert events[-1].type == "content.done"
    several = client.chat.completions.create(
        model=MODEL, messages=USER, max_tokens=5, n=3, logprobs=True, top_logprobs=2
    )
    assert len({choice.message.content for choice in several.choices}) == 3
    assert [len(choice.logprobs.content) for choice in several.choices] == [5, 5, 5]
    same = [
        client.chat.completions.create(model=MODEL, messages=USER, max_tokens=9, seed=7) for _ in range(2)
    ]
    assert same[0].choices[0].message.content == same[1].choices[0].message.content


def tools_for_50_turns() -> None:
    messages = list(USER)
    for turn in range(50):
        answer = client.chat.completions.create(
            model=MODEL, messages=messages, tools=[TOOL], tool_choice="required"
        )
        message = answer.choices[0].message
        assert answer.choices[0].finish_reason == "tool_calls"
        for call in message.tool_calls:
            given = json.loads(call.function.arguments)
            assert 1 <= given["days"] <= 7 and isinstance(given["place"], str)
        if turn:
            # All that was said before is found again, but for what does not fill a block.
            before = answer.usage.prompt_tokens - answer.usage.prompt_tokens_details.cached_tokens
            assert before < 128, answer.usage
        messages.append(message.model_dump(exclude_none=True))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": f"sunny {turn}"}
            for call in message.tool_calls
        ]
    with client.chat.completions.stream(
        model=MODEL, messages=messages, tools=[TOOL], tool_choice="required"
    ) as stream:
        for _ in stream:
            pass
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments)["days"]


def several_tools_at_once() -> None:
    def calls(**more: object) -> list[int]:
        found = []
        for _ in range(20):
            answer = client.chat.completions.create(
                model=MODEL, messages=USER, tools=[TOOL], tool_choice="required", **more
            )
            found.append(len(answer.choices[0].message.tool_calls))
        return found

    assert max(calls()) > 1
    assert set(calls(parallel_tool_calls=False)) == {1}
    counts = []
    for _ in range(20):
        with client.chat.completions.stream(
            model=MODEL, messages=USER, tools=[TOOL], tool_choice="required"
        ) as stream:
            done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
            made = stream.get_final_completion().choices[0].message.tool_calls
        assert [json.loads(event.arguments) for event in done] == [
            json.loads(call.function.arguments) for call in made
        ]
        counts.append(len(made))
    assert max(counts) > 1


def structured() -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=USER, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)
    answer = client.responses.parse(model=MODEL, input="A city", text_format=City)
    assert isinstance(answer.output_parsed, City)


def errors() -> None:
    for wanted, body in (
        (openai.BadRequestError, {"messages": [{"role": "banana", "content": "x"}]}),
        (openai.BadRequestError, {"messages": [{"role": "user", "content": "x" * 5_000_000}]}),
    ):
        try:
            client.chat.completions.create(model=MODEL, max_tokens=1, **body)
        except wanted as error:
            assert error.param and error.request_id
        else:
            raise AssertionError(wanted)


def completions() -> None:
    answer = client.completions.create(
        model=MODEL, prompt=["abc", "def"], max_tokens=3, echo=True, logprobs=1
    )
    assert [choice.text[:3] for choice in answer.choices] == ["abc", "def"]
    assert answer.usage.completion_tokens == 6
    parts = [
        part.choices[0].text
        for part in client.completions.create(model=MODEL, prompt="abc", max_tokens=4, stream=True)
    ]
    assert sum(map(bool, parts)) == 4


def responses() -> None:
    first = client.responses.create(model=MODEL, input="x" * 4000, max_output_tokens=16)
    assert (first.status, first.usage.output_tokens) == ("incomplete", 16)
    second = client.responses.create(model=MODEL, input="and then?", previous_response_id=first.id)
    assert second.status == "completed"
    assert second.usage.input_tokens_details.cached_tokens >= 992
    assert client.responses.retrieve(second.id).output_text == second.output_text
    kinds = []
    with client.responses.stream(model=MODEL, input="hello", max_output_tokens=5) as stream:
        for event in stream:
            kinds.append(event.type)
    assert kinds.count("response.output_text.delta") == 5 and kinds[-1] == "response.incomplete"
    with client.responses.stream(model=MODEL, input="hello") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.status == "completed" and final.output_text
    tool = {"type": "function", **TOOL["function"], "strict": True}
    items = [{"role": "user", "content": "weather?"}]
    for turn in range(50):
        answer = client.responses.create(model=MODEL, input=items, tools=[tool], tool_choice="required")
        assert all(json.loads(call.arguments)["days"] for call in answer.output)
        computed = answer.usage.input_tokens - answer.usage.input_tokens_details.cached_tokens
        assert not turn or computed < 256, answer.usage
        items += [call.model_dump(exclude_none=True) for call in answer.output]
        items += [
            {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            for call in answer.output
        ]
    with client.responses.stream(
        model=MODEL, input="weather?", tools=[tool], tool_choice="required"
    ) as stream:
        kinds = [event.type for event in stream]
    assert "response.function_call_arguments.done" in kinds and kinds[-1] == "response.completed"


for part in (
    chat_and_stream,
    tools_for_50_turns,
    several_tools_at_once,
    structured,
    errors,
    completions,
    responses,
):
    part()
print("ok")
