"""OpenAI's responses: events, items, and what a later one continues."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

TOOL = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "integer"}}},
}


def test_events_are_numbered_and_in_the_documented_order(desk: SimpleNamespace) -> None:
    async def main() -> str:
        async with desk.serving() as served:
            body = {"input": "hello", "max_output_tokens": 3, "stream": True}
            return str((await served.client.post("/v1/responses", json=body)).text)

    found = [json.loads(part.split("\ndata: ")[1]) for part in desk.run(main).strip().split("\n\n")]
    assert [event["type"] for event in found] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    text = "".join(event["delta"] for event in found if event["type"].endswith("text.delta"))
    assert text == found[-1]["response"]["output"][0]["content"][0]["text"]


def test_a_later_response_continues_what_was_said(desk: SimpleNamespace) -> None:
    async def main() -> list[dict[str, Any]]:
        async with desk.serving() as served:
            first = {"input": "x" * 400, "instructions": "i" * 40, "max_output_tokens": 20}
            answers = [(await served.client.post("/v1/responses", json=first)).json()]
            later = {"input": "y" * 40, "previous_response_id": answers[0]["id"], "max_output_tokens": 1}
            answers.append((await served.client.post("/v1/responses", json=later)).json())
            again = {**first, "input": [{"role": "user", "content": "x" * 400}], "instructions": None}
            answers.append((await served.client.post("/v1/responses", json=again)).json())
            return answers

    first, later, again = (answer["usage"] for answer in desk.run(main))
    assert first["input_tokens"] == 110
    # Instructions are not carried on: 100 tokens, the 20 of the reply, and 10 new ones.
    assert later["input_tokens"] == 130
    assert again["input_tokens_details"]["cached_tokens"] == 96


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responses/{id}", 200),
        ("GET", "/v1/responses/none", 404),
        ("DELETE", "/v1/responses/{id}", 200),
    ],
)
def test_what_was_answered_may_be_asked_for(
    desk: SimpleNamespace, method: str, path: str, status: int
) -> None:
    async def main() -> tuple[int, int]:
        async with desk.serving() as served:
            made = (await served.client.post("/v1/responses", json={"input": "x"})).json()
            found = await served.client.request(method, path.format(id=made["id"]))
            later = await served.client.get(f"/v1/responses/{made['id']}")
            return found.status_code, later.status_code

    assert desk.run(main) == (status, 404 if method == "DELETE" else 200)


@pytest.mark.parametrize(("store", "bytes_max"), [(False, 10**6), (True, 100)])
def test_what_is_not_kept_cannot_be_continued(desk: SimpleNamespace, store: bool, bytes_max: int) -> None:
    async def main() -> Any:
        async with desk.serving(kept_bytes_max=bytes_max) as served:
            made = (await served.client.post("/v1/responses", json={"input": "x", "store": store})).json()
            body = {"input": "y", "previous_response_id": made["id"]}
            return await served.client.post("/v1/responses", json=body)

    answer = desk.run(main)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "previous_response_id"


def test_a_loop_of_calls_finds_what_it_said_before(desk: SimpleNamespace) -> None:
    async def main() -> list[int]:
        async with desk.serving(desk.fleet(block_tokens=1)) as served:
            items: list[Any] = [{"role": "user", "content": "x" * 400}]
            computed = []
            for turn in range(4):
                body = {"input": items, "tools": [TOOL], "tool_choice": "required"}
                answer = (await served.client.post("/v1/responses", json=body)).json()
                usage, call = answer["usage"], answer["output"][0]
                computed.append(usage["input_tokens"] - usage["input_tokens_details"]["cached_tokens"])
                output = {"type": "function_call_output", "call_id": call["call_id"], "output": f"{turn:04}"}
                items += [call, output]
            return computed

    assert desk.run(main)[1:] == [2, 2, 2]
