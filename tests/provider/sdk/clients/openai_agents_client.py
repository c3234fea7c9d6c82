"""openai-agents over chat and over responses: 50 turns with tools, streams, forms, errors, usage."""

import asyncio
import sys

import openai
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
        for turn in range(50):
            result = await Runner.run(agent, given, max_turns=60)
            assert result.final_output
            last = result.raw_responses[-1].usage
            computed = last.input_tokens - last.input_tokens_details.cached_tokens
            assert last.output_tokens and (not turn or computed < 512), last
            given = [*result.to_input_list(), {"role": "user", "content": "And now?"}]
        assert seen
        streamed = Runner.run_streamed(agent, "How is the weather?", max_turns=60)
        async for _ in streamed.stream_events():
            pass
        assert streamed.final_output
        try:
            await Runner.run(agent, "x" * 5_000_000)
        except openai.BadRequestError as error:
            assert error.code == "context_length_exceeded"
        else:
            raise AssertionError("no error")
        typed = await Runner.run(Agent(name="b", output_type=City, model=model), "a city")
        assert isinstance(typed.final_output, City)


asyncio.run(main())
print("ok")
