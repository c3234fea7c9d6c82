"""litellm, as an OpenAI and as an Anthropic client: chat, streams, tools, forms, errors, usage."""

import json
import sys

import litellm
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


URL = sys.argv[1]
USER = [{"role": "user", "content": "How is the weather?"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
WAYS = (
    {"model": "openai/laptop", "api_base": URL + "/v1", "api_key": "none"},
    {"model": "anthropic/claude-sonnet-4-5", "api_base": URL, "api_key": "none"},
)
for way in WAYS:
    answer = litellm.completion(messages=USER, max_tokens=20, **way)
    assert answer.usage.completion_tokens == 20
    parts = list(litellm.completion(messages=USER, max_tokens=8, stream=True, **way))
    assert len("".join(part.choices[0].delta.content or "" for part in parts).split()) == 8
    parts = litellm.completion(
        messages=USER, max_tokens=8, stream=True, stream_options={"include_usage": True}, **way
    )
    assert [part.usage.completion_tokens for part in parts if getattr(part, "usage", None)] == [8]
    messages, several = list(USER), 0
    for turn in range(50):
        called = litellm.completion(
            messages=messages, max_tokens=400, tools=[TOOL], tool_choice="required", **way
        )
        calls = called.choices[0].message.tool_calls
        assert {call.function.name for call in calls} == {"look"}
        several += len(calls) > 1
        computed = called.usage.prompt_tokens - called.usage.prompt_tokens_details.cached_tokens
        assert not turn or computed < 128, called.usage
        messages.append(called.choices[0].message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": call.id, "content": f"sunny {turn}"} for call in calls]
    assert several, "a share of 0.3 of the calls is followed by another one"
    whole = litellm.stream_chunk_builder(
        list(
            litellm.completion(
                messages=messages, max_tokens=400, tools=[TOOL], tool_choice="required", stream=True, **way
            )
        )
    )
    for call in whole.choices[0].message.tool_calls:
        assert json.loads(call.function.arguments) == {}
    typed = litellm.completion(messages=USER, max_tokens=400, response_format=City, **way)
    City.model_validate_json(typed.choices[0].message.content)
    try:
        litellm.completion(messages=[{"role": "user", "content": "x" * 5_000_000}], max_tokens=1, **way)
    except litellm.ContextWindowExceededError:
        pass
    else:
        raise AssertionError("no error")
print("ok")
