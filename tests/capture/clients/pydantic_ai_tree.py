"""pydantic-ai: an agent with tools, one of which is another agent. Prints requests by agent, subs last."""

import json
import sys
from typing import Annotated

from pydantic import Field
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

URL, API = sys.argv[1:]
provider = OpenAIProvider(base_url=URL + "/v1", api_key="sk-secret-of-a-test")
model = {
    "chat": lambda: OpenAIChatModel("laptop", provider=provider),
    "responses": lambda: OpenAIResponsesModel("laptop", provider=provider),
    "messages": lambda: AnthropicModel(
        "laptop", provider=AnthropicProvider(base_url=URL, api_key="sk-secret-of-a-test")
    ),
}[API]()
main = Agent(model, instructions="You plan, and let others look.")
scout = Agent(model, instructions="You look, and say what you saw.")
subs: list[int] = []


@main.tool
async def delegate(context: RunContext, task: Annotated[str, Field(min_length=16)]) -> str:
    """Let another agent do a task."""
    result = await scout.run(task)
    subs.append(result.usage().requests if callable(result.usage) else result.usage.requests)
    return result.output


@scout.tool_plain
def look(place: str) -> str:
    """Look at a place."""
    return "nothing there"


history, requests = None, 0
for turn in range(40):
    result = main.run_sync(f"Question {turn}: what is in the house?", message_history=history)
    history = result.all_messages()
    requests += result.usage().requests if callable(result.usage) else result.usage.requests
    if len(subs) >= 3:
        break
print(json.dumps([requests, *sorted(subs)]))
