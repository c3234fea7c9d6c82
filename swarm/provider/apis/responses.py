"""`/v1/responses` of OpenAI: what is read of a request."""

from __future__ import annotations

from typing import Any

from swarm.provider.api_request import (
    ApiRequest,
    Choice,
    Format,
    Members,
    Tool,
    check_sampling,
    length_of,
    model_name,
)
from swarm.provider.apis.api import Api, Rules
from swarm.provider.apis.chat import PARTS, ROLES, named_choice
from swarm.provider.apis.openai import format_of
from swarm.provider.apis.response_events import ResponseEvents, whole
from swarm.provider.content import Body, Json, Writer
from swarm.provider.refusal import invalid
from swarm.provider.replies.chances import MOST

ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
"""What an answer repeats of its request."""
TEXT_PARTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
LEFT_OUT = ("reasoning", "item_reference")
"""Items without content of their own."""


def read(data: bytes, rules: Rules) -> ApiRequest:
    """Return what a body asks for; raises `Fault`."""
    body = Body(data)
    members = Members(body.members)
    check_sampling(members)
    if members.flag("background"):
        raise invalid("background: answers are given while the client waits", "background")
    writer = rules.writer(body)
    tools = members.list("tools")
    if tools:
        writer.begin("tools")
        writer.json(tools, "tools")
    instructions = members.text("instructions")
    if instructions:
        writer.begin("system")
        writer.text(instructions, "instructions")
    start = len(writer.parts), len(writer.marks), writer.size
    previous = members.text("previous_response_id")
    if previous:
        writer.extend(rules.past.content(previous))
    _input(body.members.get("input"), writer)
    top = members.count("top_logprobs", 0, MOST)
    is_told = "message.output_text.logprobs" in members.list("include")
    kept = members.flag("store", unset=True)
    return ApiRequest(
        prompts=(writer.content(),),
        prompt_member="input",
        length=length_of(members, ("max_output_tokens",), is_exact=True),
        model=model_name(members),
        salt=members.text("cache_salt"),
        streams=members.flag("stream"),
        logprobs=(top or 0) if is_told else None,
        seed=members.count("seed", -(2**63), 2**63),
        choice=_choice(body, members, tools),
        format=_format(body, members),
        echoed={name: body.plain(body.members[name]) for name in ECHOED if members.has(name)},
        kept_from=start if kept else None,
    )


def _input(given: object, writer: Writer) -> None:
    """Append the input: a string, or items."""
    if isinstance(given, str):
        writer.begin("user")
        writer.text(given, "input")
        return
    if not isinstance(given, list) or not given:
        raise invalid("input: a string or a list of items is expected", "input")
    for place, item in enumerate(given):
        where = f"input[{place}]"
        if not isinstance(item, dict):
            raise invalid(f"{where}: an object is expected", where)
        _item(item, Members(item, f"{where}."), writer, where)


def _item(item: Json, members: Members, writer: Writer, where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = ROLES[members.one_of("role", tuple(ROLES))]
        writer.begin(role)
        _content(item.get("content"), members, writer, f"{where}.content")
    elif kind == "function_call":
        if writer.last != "assistant":
            writer.begin("assistant")
        arguments = item.get("arguments")
        if not isinstance(arguments, str):
            raise members.wrong("arguments", "a string is expected")
        members.named("call_id")
        writer.call(members.named("name"), writer.body.text(arguments, f"{where}.arguments"))
    elif kind == "function_call_output":
        members.named("call_id")
        writer.begin("tool")
        output = item.get("output")
        _content(output, members, writer, f"{where}.output")
    elif kind not in LEFT_OUT:
        if not isinstance(kind, str):
            raise members.wrong("type", "a string is expected")
        writer.begin("tool")
        writer.json(item, where)


def _content(content: object, members: Members, writer: Writer, where: str) -> None:
    if isinstance(content, str):
        writer.text(content, where)
        return
    if not isinstance(content, list):
        raise members.wrong(where.rpartition(".")[2], "a string or a list of parts is expected")
    for at, part in enumerate(content):
        place = f"{where}[{at}]"
        if not isinstance(part, dict):
            raise invalid(f"{place}: an object with a type is expected", place)
        if part.get("type") in TEXT_PARTS:
            if not isinstance(part.get("text"), str):
                raise invalid(f"{place}.text: a string is expected", f"{place}.text")
            writer.text(part["text"], f"{place}.text")
        else:
            allowed = (*TEXT_PARTS, "input_image", "input_file", *PARTS)
            Members(part, f"{place}.").one_of("type", allowed)
            writer.json(part, place)


def _choice(body: Body, members: Members, tools: list[Any]) -> Choice:
    known: list[Tool] = []
    for place, tool in enumerate(tools):
        where = f"tools[{place}]"
        if not isinstance(tool, dict):
            raise invalid(f"{where}: an object is expected", where)
        own = Members(tool, f"{where}.")
        if own.named("type") == "function":
            known.append(Tool(own.named("name"), body.plain(own.object("parameters") or {"type": "object"})))
    asked, is_single = body.members.get("tool_choice"), not members.flag("parallel_tool_calls", unset=True)
    if asked is None:
        return Choice("auto", tuple(known), is_single) if known else Choice()
    if isinstance(asked, dict):
        return named_choice(asked, known, "allowed_tools", is_single=is_single)
    kind = members.one_of("tool_choice", ("none", "auto", "required"))
    if kind == "none" or (kind == "auto" and not known):
        return Choice()
    if not known:
        raise invalid("tool_choice: only allowed when tools are given", "tool_choice")
    return Choice("auto" if kind == "auto" else "required", tuple(known), is_single)


def _format(body: Body, members: Members) -> Format | None:
    text = members.object("text") or {}
    asked = members.sub("text", text).object("format")
    if asked is None:
        return None
    kind = members.sub("text.format", asked).one_of("type", ("text", "json_object", "json_schema"))
    if kind == "text":
        return None
    if kind == "json_object":
        return Format(schema={"type": "object"}, member="text.format")
    return format_of(body, asked.get("schema"), "text.format.schema")


RESPONSES = Api(read, ResponseEvents, whole)
