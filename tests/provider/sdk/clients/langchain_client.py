"""langchain's chat models of OpenAI and Anthropic."""

import sys

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
    for _ in range(10):
        said = caller.invoke(messages)
        call = said.tool_calls[0]
        messages += [said, ToolMessage(look.invoke(call["args"]), tool_call_id=call["id"])]
    assert isinstance(model.with_structured_output(City).invoke("a city"), City)
print("ok")
