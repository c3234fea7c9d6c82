"""openai-agents: an agent whose tool is another agent. Prints requests by agent, sub-agents last."""

import asyncio
import json
import sys

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)
URL, API = sys.argv[1:]


@function_tool
def look(place: str) -> str:
    """Look at a place."""
    return "nothing there"


async def main() -> None:
    client = AsyncOpenAI(base_url=URL + "/v1", api_key="sk-secret-of-a-test")
    kind = OpenAIChatCompletionsModel if API == "chat" else OpenAIResponsesModel
    model = kind("laptop", openai_client=client)
    subs: list[int] = []

    async def extract(result) -> str:
        subs.append(len(result.raw_responses))
        return str(result.final_output)

    scout = Agent(name="scout", instructions="You look, and say what you saw.", tools=[look], model=model)
    settings = ModelSettings(parallel_tool_calls=False)
    tool = scout.as_tool("ask_scout", "Let the scout look.", custom_output_extractor=extract, max_turns=60)
    planner = Agent(
        name="planner", instructions="You plan.", tools=[tool], model=model, model_settings=settings
    )
    given: list = []
    requests = 0
    for turn in range(40):
        given = [*given, {"role": "user", "content": f"Question {turn}: what is in the house?"}]
        result = await Runner.run(planner, given, max_turns=60)
        given = result.to_input_list()
        requests += len(result.raw_responses)
        if len(subs) >= 3:
            break
    print(json.dumps([requests, *sorted(subs)]))


asyncio.run(main())
