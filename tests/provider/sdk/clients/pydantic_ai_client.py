"""pydantic-ai's agents over chat, responses and messages: 50 turns, tools, streams, forms, errors, usage."""

import asyncio
import sys

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


async def streamed(agent: Agent) -> None:
    """Read a reply word by word."""
    async with agent.run_stream("hello") as result:
        parts = [part async for part in result.stream_text(delta=True, debounce_by=None)]
    assert len(parts) > 1 and result.usage.output_tokens


URL = sys.argv[1]
provider = OpenAIProvider(base_url=URL + "/v1", api_key="none")
for model in (
    OpenAIChatModel("laptop", provider=provider),
    OpenAIResponsesModel("laptop", provider=provider),
    AnthropicModel("laptop", provider=AnthropicProvider(base_url=URL, api_key="none")),
):
    calls = []
    agent = Agent(model, instructions="Be brief.")

    @agent.tool_plain
    def weather(place: str) -> str:
        """Weather of a place."""
        calls.append(place)  # noqa: B023 - each agent is used before the next one is made
        return "sunny"

    history = None
    for turn in range(50):
        result = agent.run_sync("How is the weather?", message_history=history)
        history = result.all_messages()
        assert isinstance(result.output, str) and result.output
        last = history[-1].usage
        assert last.output_tokens and (not turn or last.input_tokens - last.cache_read_tokens < 512), last
    assert calls, "at a rate of a half some turn calls"
    assert isinstance(Agent(model, output_type=City).run_sync("a city").output, City)
    asyncio.run(streamed(Agent(model)))
    try:
        Agent(model).run_sync("x" * 5_000_000)
    except ModelHTTPError as error:
        assert error.status_code == 400
    else:
        raise AssertionError("no error")
print("ok")
