"""Several calls in one reply, over every API: streamed as whole, one alone if asked, found again."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

SCHEMA = {
    "type": "object",
    "properties": {"at": {"type": "integer"}, "who": {"type": "string", "maxLength": 12}},
    "required": ["at", "who"],
}
USER = [{"role": "user", "content": "x" * 640}]
FUNCTION = {"name": "look", "parameters": SCHEMA}
MANY = {"tool_call_rate": 1.0, "parallel_call_rate": 0.9}
SEED = 9
"""By which each API's first reply has more than two calls."""
Calls = list[tuple[str, str, Any]]
"""Id, name and arguments of each."""


class Chat:
    path = "/v1/chat/completions"
    body: ClassVar[dict[str, Any]] = {"messages": USER, "tools": [{"type": "function", "function": FUNCTION}]}
    forced: ClassVar[dict[str, Any]] = {"tool_choice": "required"}
    single: ClassVar[dict[str, Any]] = {"parallel_tool_calls": False}

    @staticmethod
    def whole(found: dict[str, Any]) -> Calls:
        calls = found["choices"][0]["message"]["tool_calls"]
        return [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in calls
        ]

    @staticmethod
    def streamed(events: list[dict[str, Any]]) -> Calls:
        told: dict[int, list[str]] = {}
        for event in events:
            for call in event["choices"][0]["delta"].get("tool_calls") or ():
                part = told.setdefault(call["index"], ["", "", ""])
                part[0] += call.get("id", "")
                part[1] += call["function"].get("name", "")
                part[2] += call["function"]["arguments"]
        return [(told[at][0], told[at][1], json.loads(told[at][2])) for at in range(len(told))]

    @staticmethod
    def later(found: dict[str, Any]) -> dict[str, Any]:
        message = found["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": f"{place:04}"}
            for place, call in enumerate(message["tool_calls"])
        ]
        return {**Chat.body, "messages": [*USER, message, *results]}

    @staticmethod
    def computed(found: dict[str, Any]) -> int:
        usage = found["usage"]
        return int(usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"])


class Messages:
    path = "/v1/messages"
    body: ClassVar[dict[str, Any]] = {
        "messages": USER,
        "max_tokens": 1000,
        "tools": [{"name": "look", "input_schema": SCHEMA}],
    }
    forced: ClassVar[dict[str, Any]] = {"tool_choice": {"type": "any"}}
    single: ClassVar[dict[str, Any]] = {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}

    @staticmethod
    def whole(found: dict[str, Any]) -> Calls:
        return [(block["id"], block["name"], block["input"]) for block in found["content"]]

    @staticmethod
    def streamed(events: list[dict[str, Any]]) -> Calls:
        made: list[list[str]] = []
        for event in events:
            if event["type"] == "content_block_start":
                assert event["index"] == len(made)
                made.append([event["content_block"]["id"], event["content_block"]["name"], ""])
            elif event["type"] == "content_block_delta":
                assert event["index"] == len(made) - 1
                made[-1][2] += event["delta"]["partial_json"]
        ends = [event["index"] for event in events if event["type"] == "content_block_stop"]
        assert ends == list(range(len(made)))
        return [(call_id, name, json.loads(text)) for call_id, name, text in made]

    @staticmethod
    def later(found: dict[str, Any]) -> dict[str, Any]:
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": f"{place:04}"}
            for place, block in enumerate(found["content"])
        ]
        messages = [
            *USER,
            {"role": "assistant", "content": found["content"]},
            {"role": "user", "content": results},
        ]
        return {**Messages.body, "messages": messages}

    @staticmethod
    def computed(found: dict[str, Any]) -> int:
        return int(found["usage"]["input_tokens"])


class Responses:
    path = "/v1/responses"
    body: ClassVar[dict[str, Any]] = {"input": USER, "tools": [{"type": "function", **FUNCTION}]}
    forced: ClassVar[dict[str, Any]] = {"tool_choice": "required"}
    single: ClassVar[dict[str, Any]] = {"parallel_tool_calls": False}

    @staticmethod
    def whole(found: dict[str, Any]) -> Calls:
        return [(item["call_id"], item["name"], json.loads(item["arguments"])) for item in found["output"]]

    @staticmethod
    def streamed(events: list[dict[str, Any]]) -> Calls:
        made: dict[int, str] = {}
        done: Calls = []
        for event in events:
            kind = event["type"].removeprefix("response.")
            if kind == "function_call_arguments.delta":
                made[event["output_index"]] = made.get(event["output_index"], "") + event["delta"]
            elif kind == "output_item.done":
                item = event["item"]
                assert item["arguments"] == made[event["output_index"]]
                done.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert Responses.whole(events[-1]["response"]) == done
        return done

    @staticmethod
    def later(found: dict[str, Any]) -> dict[str, Any]:
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": f"{place:04}"}
            for place, item in enumerate(found["output"])
        ]
        return {**Responses.body, "input": [*USER, *found["output"], *results]}

    @staticmethod
    def computed(found: dict[str, Any]) -> int:
        usage = found["usage"]
        return int(usage["input_tokens"] - usage["input_tokens_details"]["cached_tokens"])


APIS = [Chat, Messages, Responses]


def ask(desk: SimpleNamespace, path: str, *bodies: dict[str, Any], **fleet: Any) -> list[Any]:
    """Return the answers to bodies, one after the other."""

    async def main() -> list[Any]:
        async with desk.serving(desk.fleet(serving=MANY, **fleet)) as served:
            return [await served.client.post(path, json=body) for body in bodies]

    return list(desk.run(main))


def events(text: str) -> list[dict[str, Any]]:
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(each) for each in data if each != "[DONE]"]


@pytest.mark.parametrize("api", APIS)
def test_several_calls_come_alike_streamed_and_whole(desk: SimpleNamespace, api: Any) -> None:
    body: ClassVar[dict[str, Any]] = {**api.body, "seed": SEED}
    whole, streamed = ask(desk, api.path, body, {**body, "stream": True})
    calls = api.whole(whole.json())
    assert len(calls) > 2 and len({call_id for call_id, *_ in calls}) == len(calls)
    found = api.streamed(events(streamed.text))
    # The id of a call follows from the reply that it is in, which a seed makes the same.
    assert found == calls


@pytest.mark.parametrize("api", APIS)
def test_who_wants_one_call_at_a_time_gets_it(desk: SimpleNamespace, api: Any) -> None:
    answers = ask(desk, api.path, *[{**api.body, **api.forced}] * 12, *[{**api.body, **api.single}] * 12)
    counts = [len(api.whole(answer.json())) for answer in answers]
    assert max(counts[:12]) > 1 and max(counts) <= 8
    assert set(counts[12:]) == {1}


@pytest.mark.parametrize("api", APIS)
def test_several_calls_and_results_are_found_again(desk: SimpleNamespace, api: Any) -> None:
    async def main() -> list[int]:
        async with desk.serving(desk.fleet(block_tokens=1, serving=MANY)) as served:
            first = (await served.client.post(api.path, json=api.body | {"seed": SEED})).json()
            later = api.later(first)
            again = [(await served.client.post(api.path, json=later)).json() for _ in range(2)]
            return [len(api.whole(first)), *map(api.computed, again)]

    count, new, repeated = desk.run(main)
    # New are one token for each result, and the last one said, which was never computed.
    assert (new, repeated) == (count + 1, 1)


def test_a_conversation_with_several_calls_is_one_over_all_apis(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving(desk.fleet(block_tokens=1)) as served:
            calls = [("a", {"at": 1, "who": "xxxx"}), ("b", {"at": 2, "who": "yyyy"})]
            chat = {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": call_id,
                        "function": {"name": "look", "arguments": json.dumps(given, separators=(",", ":"))},
                    }
                    for call_id, given in calls
                ],
            }
            found = [
                {"id": "a", "type": "tool_use", "name": "look", "input": calls[0][1]},
                {"id": "b", "type": "tool_use", "name": "look", "input": calls[1][1]},
            ]
            output = [
                {"type": "function_call", "call_id": call["id"], **call["function"]}
                for call in chat["tool_calls"]  # type: ignore[union-attr]
            ]
            bodies = [
                (Chat, Chat.later({"choices": [{"message": chat}]})),
                (Messages, Messages.later({"content": found})),
                (Responses, Responses.later({"output": output})),
            ]
            computed = []
            for api, body in bodies:
                # What declares tools differs by API.
                body = {**{k: v for k, v in body.items() if k != "tools"}, "max_tokens": 1}
                answer = await served.client.post(api.path, json=body)
                computed.append(api.computed(answer.json()))
            return computed

    assert desk.run(main)[1:] == [1, 1]
