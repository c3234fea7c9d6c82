"""langchain's chat models of OpenAI and Anthropic: chat, streams, tools, forms, errors, usage."""

import sys

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def look(place: str, days: int) -> str:
    """Look at the weather."""
    return f"{place} {days}"


URL = sys.argv[1]
for model in (
    ChatOpenAI(base_url=URL + "/v1", api_key="none", model="laptop", max_tokens=200, stream_usage=True),
    ChatOpenAI(base_url=URL + "/v1", api_key="none", model="laptop", use_responses_api=True),
    ChatAnthropic(base_url=URL, api_key="none", model_name="laptop", max_tokens=200),
):
    answer = model.invoke("hello")
    assert answer.usage_metadata["output_tokens"] > 0 and answer.text
    whole = None
    for part in model.stream("hello"):
        whole = part if whole is None else whole + part
    assert whole.text and whole.usage_metadata["input_tokens"] > 0
    caller = model.bind_tools([look], tool_choice="any")
    messages = [HumanMessage("weather?")]
    several = 0
    for turn in range(50):
        said = caller.invoke(messages)
        usage = said.usage_metadata
        computed = usage["input_tokens"] - usage["input_token_details"]["cache_read"]
        assert not turn or computed < 512, usage
        several += len(said.tool_calls) > 1
        messages.append(said)
        for call in said.tool_calls:
            messages.append(ToolMessage(look.invoke(call["args"]), tool_call_id=call["id"]))
    assert several, "a share of 0.3 of the calls is followed by another one"
    whole = None
    for part in caller.stream(messages):
        whole = part if whole is None else whole + part
    assert whole.tool_calls and not whole.invalid_tool_calls
    try:
        model.invoke("x" * 5_000_000)
    except (openai.BadRequestError, anthropic.BadRequestError) as error:
        assert "context" in str(error) or "prompt is too long" in str(error)
    else:
        raise AssertionError("no error")
    assert isinstance(model.with_structured_output(City).invoke("a city"), City)
print("ok")
