"""`/v1/chat/completions` of OpenAI."""

from __future__ import annotations

from typing import Any

import orjson

from swarm.provider.api_request import ApiRequest, Choice, Format, Members, Tool, length_of, model_name
from swarm.provider.apis.api import Api, Rules, Story
from swarm.provider.apis.openai import Chunks, format_of, guided, head_of, settings_of, usage
from swarm.provider.content import Body, Json, Writer
from swarm.provider.refusal import invalid
from swarm.provider.replies.chances import MOST, logprob, others
from swarm.provider.replies.reply import Reply

ROLES = {
    "developer": "system",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
PARTS = ("text", "image_url", "input_audio", "audio_url", "video_url", "file", "refusal", "image", "thinking")
LENGTHS = ("max_completion_tokens", "max_tokens")


def read(data: bytes, rules: Rules) -> ApiRequest:
    """Return what a body asks for; raises `Fault`."""
    body = Body(data)
    members = Members(body.members)
    writer = rules.writer(body)
    tools = members.list("tools")
    if tools:
        writer.begin("tools")
        writer.json(tools, "tools")
    write_messages(members.list("messages"), writer)
    if members.flag("continue_final_message") and not members.flag("add_generation_prompt"):
        writer.continues = writer.last == "assistant"
    form = _format(body, members)
    return ApiRequest(
        prompts=(writer.content(),),
        length=length_of(members, LENGTHS, is_exact=True),
        model=model_name(members),
        logprobs=_logprobs(members),
        choice=choice_of(body, members, tools, is_single=not members.flag("parallel_tool_calls", unset=True)),
        format=form,
        **settings_of(members, rules.limits),
    )


def write_messages(messages: list[Any], writer: Writer) -> None:
    """Append messages."""
    if not messages:
        raise invalid("messages: a list of at least one message is expected", "messages")
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise invalid(f"{where}: an object with a role is expected", where)
        _message(Members(message, f"{where}."), message, writer, where)


def _message(members: Members, message: Json, writer: Writer, where: str) -> None:
    """Append a message's content, then its calls of tools."""
    role = ROLES.get(message.get("role", ""), "") if isinstance(message.get("role"), str) else ""
    if not role:
        members.one_of("role", tuple(ROLES))
    writer.begin(role)
    content = message.get("content")
    if isinstance(content, str):
        writer.text(content, f"{where}.content")
    elif isinstance(content, list):
        for at, part in enumerate(content):
            _part(part, writer, f"{where}.content[{at}]")
    elif content is not None or role != "assistant":
        raise members.wrong("content", "a string or a list of parts is expected")
    if role == "assistant":
        for at, call in enumerate(members.list("tool_calls")):
            _call(call, writer, f"{where}.tool_calls[{at}]")
    elif message["role"] == "tool":
        members.named("tool_call_id")


def _part(part: object, writer: Writer, where: str) -> None:
    if not isinstance(part, dict):
        raise invalid(f"{where}: an object with a type is expected", where)
    kind = Members(part, f"{where}.").one_of("type", PARTS) if "type" in part else "text"
    if kind == "text":
        text = part.get("text")
        if not isinstance(text, str):
            raise invalid(f"{where}.text: a string is expected", f"{where}.text")
        writer.text(text, f"{where}.text")
    else:
        writer.json(part, where)


def _call(call: object, writer: Writer, where: str) -> None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise invalid(f"{where}: an object with a function is expected", where)
    members = Members(function, f"{where}.function.")
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        raise members.wrong("arguments", "a string is expected")
    writer.call(members.named("name"), writer.body.text(arguments, where))


def tools_of(body: Body, tools: list[Any]) -> list[Tool]:
    """Return the functions among tools; raises `Fault`."""
    found: list[Tool] = []
    for place, tool in enumerate(tools):
        where = f"tools[{place}]"
        if not isinstance(tool, dict):
            raise invalid(f"{where}: an object is expected", where)
        function = tool.get("function")
        if tool.get("type", "function") != "function" and function is None:
            continue
        if not isinstance(function, dict):
            raise invalid(f"{where}.function: an object is expected", f"{where}.function")
        members = Members(function, f"{where}.function.")
        schema = members.object("parameters")
        found.append(Tool(members.named("name"), body.plain(schema or {"type": "object"})))
    return found


def choice_of(body: Body, members: Members, tools: list[Any], *, is_single: bool) -> Choice:
    """Return which tools are to be called; raises `Fault`."""
    known = tools_of(body, tools)
    asked = body.members.get("tool_choice")
    if asked is None:
        return Choice("auto", tuple(known), is_single) if known else Choice()
    if isinstance(asked, dict):
        return named_choice(asked, known, "allowed_tools", is_single=is_single)
    kind = members.one_of("tool_choice", ("none", "auto", "required"))
    if kind == "none":
        return Choice()
    if not known:
        raise invalid("tool_choice: only allowed when tools are given", "tool_choice")
    return Choice("auto" if kind == "auto" else "required", tuple(known), is_single)


def named_choice(asked: Json, known: list[Tool], allowed: str, *, is_single: bool) -> Choice:
    """Return the choice of one function by its name, or of some."""
    if asked.get("type") == allowed:
        # {"type": "allowed_tools", "allowed_tools": {"mode": ..., "tools": [...]}}, or without a level.
        inner = asked.get(allowed, asked)
        names = [_name_of(each) for each in inner.get("tools") or () if isinstance(each, dict)]
        kept = tuple(tool for tool in known if tool.name in names)
        return Choice("required" if inner.get("mode") == "required" else "auto", kept, is_single)
    name = _name_of(asked)
    chosen = [tool for tool in known if tool.name == name]
    if not chosen:
        raise invalid(f"tool_choice: no tool is named {str(name)[:100]!r}", "tool_choice")
    return Choice("required", tuple(chosen[:1]), is_single=True)


def _name_of(asked: Json) -> object:
    function = asked.get("function")
    return function.get("name") if isinstance(function, dict) else asked.get("name")


def _format(body: Body, members: Members) -> Format | None:
    asked = members.object("response_format")
    if asked is None:
        return guided(body, members)
    kind = members.sub("response_format", asked).one_of("type", ("text", "json_object", "json_schema"))
    if kind == "text":
        return None
    if kind == "json_object":
        return Format(schema={"type": "object"})
    named = members.sub("response_format", asked).object("json_schema")
    if named is None:
        raise invalid(
            "Missing required parameter: 'response_format.json_schema'.",
            "response_format.json_schema",
            "missing_required_parameter",
        )
    return format_of(body, named.get("schema", {"type": "object"}), "response_format")


def _logprobs(members: Members) -> int | None:
    wanted = members.flag("logprobs")
    count = members.count("top_logprobs", 0, MOST)
    if count and not wanted:
        raise invalid("top_logprobs: only allowed when logprobs is true", "top_logprobs")
    return (count or 0) if wanted else None


class ChatChunks(Chunks):
    """The events of a chat."""

    def __init__(self, story: Story) -> None:
        super().__init__(story, head_of(story, "chat.completion.chunk", "chatcmpl"))

    def first(self, place: int) -> bytes:
        """Return the event that names the role."""
        self._told = place, 0
        return self.chunk(_delta(place, {"role": "assistant", "content": ""}, None))

    def one(self, place: int, reply: Reply, at: int) -> bytes:
        """Return the event of one token; before the first one of a call the one that names its tool."""
        if not reply.calls:
            return super().one(place, reply, at)
        index = reply.call_at(at)
        call = reply.calls[index]
        self._told = place, at + 1
        opened = b""
        if at == call.start:
            told: Json = {"index": index, "id": f"call_{call.call_id}", "type": "function"}
            told["function"] = {"name": call.name, "arguments": ""}
            opened = self.chunk(_delta(place, {"tool_calls": [told]}, None))
        part = call.told(at, at + 1)
        if not part:
            return opened
        told = {"index": index, "function": {"arguments": part.decode()}}
        return opened + self.chunk(_delta(place, {"tool_calls": [told]}, None))

    def choice(self, place: int, text: str, reason: str | None) -> Json:
        """Return a choice that tells of text."""
        return _delta(place, {"content": text} if text else {}, reason)

    def chances(self, reply: Reply, start: int, end: int) -> Any:
        """Return the log-probabilities of tokens."""
        return chances(reply, start, end, self._story.ask.logprobs or 0)


def _delta(place: int, delta: Json, reason: str | None) -> Json:
    return {"index": place, "delta": delta, "logprobs": None, "finish_reason": reason}


def chances(reply: Reply, start: int, end: int, count: int) -> Json | None:
    """Return the log-probabilities of a text's tokens, each with its `count` likeliest."""
    if reply.calls:
        return None
    found = []
    for token in reply.pieces(start, end):
        likeliest = [_chance(*each) for each in others(token, count)]
        found.append({**_chance(token, logprob(token)), "top_logprobs": likeliest})
    return {"content": found, "refusal": None}


def _chance(token: str, chance: float) -> Json:
    return {"token": token, "logprob": chance, "bytes": list(token.encode())}


def whole(story: Story) -> bytes:
    """Return the body of an answer that is not streamed."""
    head = head_of(story, "chat.completion", "chatcmpl")
    choices = [_whole_choice(story, place, reply) for place, reply in enumerate(story.replies)]
    return orjson.dumps({**head, "choices": choices, "usage": usage(story)})


def _whole_choice(story: Story, place: int, reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.shown.decode(), "refusal": None}
    if reply.calls:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": f"call_{call.call_id}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.told(0, reply.tokens).decode()},
            }
            for call in reply.calls
        ]
    choice: Json = {"index": place, "message": message, "logprobs": None, "finish_reason": reply.finish}
    if story.ask.logprobs is not None:
        choice["logprobs"] = chances(reply, 0, reply.tokens, story.ask.logprobs)
    if reply.stop is not None:
        choice["stop_reason"] = reply.stop
    return choice


CHAT = Api(read, ChatChunks, whole)
