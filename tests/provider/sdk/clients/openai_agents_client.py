"""openai-agents over chat and over responses."""

import asyncio
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    name: str
    people: int


seen = []


@function_tool
def weather(place: str) -> str:
    """Weather of a place."""
    seen.append(place)
    return "sunny"


async def main() -> None:
    client = AsyncOpenAI(base_url=sys.argv[1] + "/v1", api_key="none")
    for model in (
        OpenAIChatCompletionsModel("laptop", openai_client=client),
        OpenAIResponsesModel("laptop", openai_client=client),
    ):
        seen.clear()
        agent = Agent(name="a", instructions="Be brief.", tools=[weather], model=model)
        given = "How is the weather?"
        for _ in range(10):
            result = await Runner.run(agent, given, max_turns=60)
            assert result.final_output
            given = [*result.to_input_list(), {"role": "user", "content": "And now?"}]
        assert seen
        streamed = Runner.run_streamed(agent, "How is the weather?", max_turns=60)
        async for _ in streamed.stream_events():
            pass
        assert streamed.final_output
        typed = await Runner.run(Agent(name="b", output_type=City, model=model), "a city")
        assert isinstance(typed.final_output, City)


asyncio.run(main())
print("ok")
