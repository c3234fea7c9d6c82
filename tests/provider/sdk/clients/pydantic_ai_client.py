"""pydantic-ai's agents over chat, responses and messages."""

import sys

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


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
    for _ in range(10):
        result = agent.run_sync("How is the weather?", message_history=history)
        history = result.all_messages()
        assert isinstance(result.output, str) and result.output
    assert calls, "at a rate of a half some turn calls"
    assert isinstance(Agent(model, output_type=City).run_sync("a city").output, City)
print("ok")
