"""litellm, as an OpenAI and as an Anthropic client."""

import sys

import litellm

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
    called = litellm.completion(messages=USER, max_tokens=200, tools=[TOOL], tool_choice="required", **way)
    assert called.choices[0].message.tool_calls[0].function.name == "look"
    try:
        litellm.completion(messages=[{"role": "user", "content": "x" * 5_000_000}], max_tokens=1, **way)
    except litellm.ContextWindowExceededError:
        pass
    else:
        raise AssertionError("no error")
print("ok")
