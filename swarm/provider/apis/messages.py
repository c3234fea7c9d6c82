"""`/v1/messages` of Anthropic, and `/v1/messages/count_tokens`."""

from __future__ import annotations

from typing import Any

import orjson

from swarm.provider.api_request import ApiRequest, Choice, Format, Members, Tool, length_of, model_name
from swarm.provider.apis.api import Api, Rules, Story
from swarm.provider.apis.chat import named_choice
from swarm.provider.apis.events import END, TEXT_MARK, event, framed, template
from swarm.provider.apis.openai import format_of, told_apart
from swarm.provider.content import Body, Json, Writer
from swarm.provider.fingerprints import TOKEN_BYTES, tokens_of
from swarm.provider.refusal import invalid
from swarm.provider.replies.reply import Call, Reply

BLOCKS = (
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
    "tool_reference",
)
TTLS_S = {"5m": 300.0, "1h": 3600.0}
BREAKPOINTS_MAX = 4


def read(data: bytes, rules: Rules) -> ApiRequest:
    """Return what a body asks for; raises `Fault`."""
    body = Body(data)
    members = Members(body.members)
    if not members.has("max_tokens"):
        raise invalid("max_tokens: Field required", "max_tokens")
    writer, choice = _prompt(body, members, rules)
    _check(members)
    # A bound is no wish: the model ends where it would, unless the client wants every token of it.
    return ApiRequest(
        prompts=(writer.content(),),
        length=length_of(members, ("max_tokens",), is_exact=False),
        model=model_name(members),
        salt=members.text("cache_salt"),
        streams=members.flag("stream"),
        stops=members.texts("stop_sequences"),
        seed=members.count("seed", -(2**63), 2**63),
        choice=choice,
        format=_format(body, members),
        breakpoints=tuple(writer.breakpoints),
    )


def read_count(data: bytes, rules: Rules) -> bytes:
    """Return the answer to a body that asks how many tokens it is; raises `Fault`."""
    body = Body(data)
    writer, _ = _prompt(body, Members(body.members), rules)
    return orjson.dumps({"input_tokens": writer.content().tokens})


def _check(members: Members) -> None:
    members.number("temperature", 0.0, 1.0)
    members.number("top_p", 0.0, 1.0)
    members.count("top_k", 0)
    members.object("metadata")
    thinking = members.object("thinking")
    if thinking is not None:
        members.sub("thinking", thinking).one_of("type", ("enabled", "disabled", "adaptive"))


def _prompt(body: Body, members: Members, rules: Rules) -> tuple[Writer, Choice]:
    """Return the prompt, and which tools are to be called: tools, then system, then messages."""
    writer = rules.writer(body)
    tools = members.list("tools")
    if tools:
        writer.begin("tools")
        for place, tool in enumerate(tools):
            _tool(place, tool, writer)
    system = body.members.get("system")
    if system:
        writer.begin("system")
        _content(system, writer, members, "system", ("text",))
    messages = members.list("messages")
    if not messages:
        raise invalid("messages: at least one message is required", "messages")
    calls: set[str] = set()
    for place, message in enumerate(messages):
        calls = _message(place, message, writer, calls)
    writer.continues = writer.last == "assistant"
    if members.object("cache_control") is not None:
        _breakpoint(members, writer)
    if len(writer.breakpoints) > BREAKPOINTS_MAX:
        found = len(writer.breakpoints)
        raise invalid(
            f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. Found {found}."
        )
    return writer, _choice(body, members, tools)


def _tool(place: int, tool: object, writer: Writer) -> None:
    where = f"tools.{place}"
    if not isinstance(tool, dict):
        raise invalid(f"{where}: an object is expected", where)
    writer.json({name: value for name, value in tool.items() if name != "cache_control"}, where)
    _breakpoint(Members(tool, f"{where}."), writer)


def _message(place: int, message: object, writer: Writer, calls: set[str]) -> set[str]:
    """Append a message; return the ids of the calls in it, which the next one may answer."""
    where = f"messages.{place}"
    if not isinstance(message, dict):
        raise invalid(f"{where}: an object with a role is expected", where)
    members = Members(message, f"{where}.")
    role = members.one_of("role", ("user", "assistant", "system"))
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    kinds = [part.get("type") for part in parts if isinstance(part, dict)]
    if content is None:
        raise members.wrong("content", "a string or a list of blocks is expected")
    # Results of tools are turns of their own in every template.
    has_results = role == "user" and "tool_result" in kinds
    if not has_results:
        writer.begin(role)
    _content(content, writer, members, f"{where}.content", BLOCKS, has_results=has_results)
    for at, part in enumerate(parts):
        if role == "user" and part.get("type") == "tool_result" and part.get("tool_use_id") not in calls:
            raise invalid(
                f"{where}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{str(part.get('tool_use_id'))[:80]}. Each `tool_result` block must have a corresponding "
                "`tool_use` block in the previous message."
            )
    if role == "assistant":
        return {
            part["id"] for part in parts if part.get("type") == "tool_use" and isinstance(part.get("id"), str)
        }
    return set()


def _content(
    content: object,
    writer: Writer,
    members: Members,
    where: str,
    kinds: tuple[str, ...],
    *,
    has_results: bool = False,
) -> None:
    """Append a string or blocks; among results of tools each begins a message, as do others after them."""
    if isinstance(content, str):
        writer.text(content, where)
        return
    if not isinstance(content, list):
        raise members.wrong(where.rpartition(".")[2], "a string or a list of blocks is expected")
    for at, block in enumerate(content):
        place = f"{where}.{at}"
        if not isinstance(block, dict):
            raise invalid(f"{place}: an object with a type is expected", place)
        own = Members(block, f"{place}.")
        kind = own.one_of("type", kinds)
        if has_results and (kind == "tool_result" or not at or writer.last != "user"):
            writer.begin("tool" if kind == "tool_result" else "user")
        _block(kind, block, own, writer, place)
        if block.get("text") == "" and own.has("cache_control"):
            raise invalid(f"{place}: cache_control cannot be set for empty text blocks", place)
        _breakpoint(own, writer)


def _block(kind: str, block: Json, members: Members, writer: Writer, where: str) -> None:
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise members.wrong("text", "a string is expected")
        writer.text(block["text"], f"{where}.text")
    elif kind == "tool_use":
        members.named("id")
        given = members.object("input")
        writer.call(members.named("name"), writer.body.json(given or {}, f"{where}.input"))
    elif kind == "tool_result":
        members.named("tool_use_id")
        if members.has("content"):
            _content(block["content"], writer, members, f"{where}.content", BLOCKS)
    else:
        writer.json({name: value for name, value in block.items() if name != "cache_control"}, where)


def _breakpoint(members: Members, writer: Writer) -> None:
    """Note that the client asks to have everything up to here kept."""
    control = members.object("cache_control")
    if control is None:
        return
    own = members.sub("cache_control", control)
    own.one_of("type", ("ephemeral",))
    ttl = own.one_of("ttl", tuple(TTLS_S)) if own.has("ttl") else "5m"
    ttl_s = TTLS_S[ttl]
    if writer.breakpoints and writer.breakpoints[-1][1] < ttl_s:
        raise invalid("cache_control: a ttl='1h' cache_control block must not come after a ttl='5m' one")
    writer.keep(ttl_s)


def _choice(body: Body, members: Members, tools: list[Any]) -> Choice:
    known: list[Tool] = []
    for place, tool in enumerate(tools):
        own = Members(tool, f"tools.{place}.")
        if tool.get("type", "custom") == "custom":
            schema = own.object("input_schema")
            if schema is None:
                raise invalid(f"tools.{place}.input_schema: Field required", f"tools.{place}.input_schema")
            known.append(Tool(own.named("name"), body.plain(schema)))
    asked = members.object("tool_choice")
    if asked is None:
        return Choice("auto", tuple(known)) if known else Choice()
    own = members.sub("tool_choice", asked)
    kind, is_single = (
        own.one_of("type", ("auto", "any", "tool", "none")),
        own.flag("disable_parallel_tool_use"),
    )
    if kind == "none":
        return Choice()
    if not known:
        raise invalid("tool_choice: may only be specified while providing tools", "tool_choice")
    if kind == "tool":
        return named_choice({"type": "function", "name": asked.get("name")}, known, "-", is_single=True)
    return Choice("auto" if kind == "auto" else "required", tuple(known), is_single)


def _format(body: Body, members: Members) -> Format | None:
    config = members.object("output_config") or {}
    asked = members.sub("output_config", config).object("format") or members.object("output_format")
    if asked is None:
        return None
    members.sub("output_config.format", asked).one_of("type", ("json_schema",))
    return format_of(body, asked.get("schema"), "output_config.format.schema")


def stop_reason(reply: Reply) -> str:
    """Return why a reply ended, in Anthropic's words."""
    if reply.stop is not None:
        return "stop_sequence"
    return {"length": "max_tokens", "stop": "end_turn", "tool_calls": "tool_use"}[reply.finish]


def usage(story: Story, output_tokens: int) -> Json:
    """Return the tokens of a request: read from the caches, written for a breakpoint, and the others."""
    use = story.caches[0]
    written = written_tokens(story)
    return {
        "input_tokens": use.prompt_tokens - use.cached_tokens - sum(written.values()),
        "cache_creation_input_tokens": sum(written.values()),
        "cache_read_input_tokens": use.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written["5m"],
            "ephemeral_1h_input_tokens": written["1h"],
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
        **told_apart(story),
    }


def written_tokens(story: Story) -> dict[str, int]:
    """Return what was not in the caches and is kept now because the client asked, by how long."""
    use = story.caches[0]
    written = dict.fromkeys(TTLS_S, 0)
    at = use.cached_tokens
    for place, ttl_s in story.ask.breakpoints:
        end = min(tokens_of(place), use.prompt_tokens)
        if end > at:
            written["1h" if ttl_s == TTLS_S["1h"] else "5m"] += end - at
            at = end
    return written


def _message_of(story: Story, content: list[Json], output_tokens: int, *, is_over: bool) -> Json:
    reply = story.replies[0]
    return {
        "id": f"msg_{story.number}",
        "type": "message",
        "role": "assistant",
        "model": story.model,
        "content": content,
        "stop_reason": stop_reason(reply) if is_over else None,
        "stop_sequence": reply.stop if is_over else None,
        "usage": usage(story, output_tokens),
    }


class MessageEvents:
    """The events of a message."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._made = b""

    def opening(self) -> bytes:
        """Return nothing: the first event tells what was cached."""
        return b""

    def first(self, place: int) -> bytes:
        """Return the start of the message and of its first block."""
        return b"".join(
            [
                self._event("message_start", message=_message_of(self._story, [], 1, is_over=False)),
                self._begun(0),
                self._event("ping"),
            ]
        )

    def _begun(self, index: int) -> bytes:
        """Return the start of a block."""
        calls = self._story.replies[0].calls
        block: Json = {"type": "text", "text": ""}
        if calls:
            block = {**_tool_use(calls[index]), "input": {}}
        return self._event("content_block_start", index=index, content_block=block)

    def tokens(self, place: int, start: int, end: int) -> bytes:
        """Return the events of the tokens [start, end)."""
        reply = self._story.replies[0]
        if not reply.is_prose or TOKEN_BYTES * end > reply.shown_bytes:
            return b"".join([self._slowly(reply, at) for at in range(start, end)])
        made = self._made = self._made or self._template()
        text = reply.text
        return b"".join(
            [made % text[TOKEN_BYTES * at : TOKEN_BYTES * at + TOKEN_BYTES] for at in range(start, end)]
        )

    def last(self, place: int) -> bytes:
        """Return the ends of the last block and of the message."""
        reply = self._story.replies[0]
        delta = {"stop_reason": stop_reason(reply), "stop_sequence": reply.stop}
        return b"".join(
            [
                self._event("content_block_stop", index=max(0, len(reply.calls) - 1)),
                self._event("message_delta", delta=delta, usage=usage(self._story, reply.tokens)),
                self._event("message_stop"),
            ]
        )

    def closing(self) -> bytes:
        """Return the end of the stream."""
        return END if self._story.is_chunked else b""

    def failed(self, message: str) -> bytes:
        """Return an error as the last event."""
        return self._event("error", error={"type": "api_error", "message": message})

    def _slowly(self, reply: Reply, at: int) -> bytes:
        index, between = 0, b""
        if reply.calls:
            index = reply.call_at(at)
            call = reply.calls[index]
            if index and at == call.start:
                between = self._event("content_block_stop", index=index - 1) + self._begun(index)
            part = call.told(at, at + 1)
            delta: Json = {"type": "input_json_delta", "partial_json": part.decode()}
        else:
            part = reply.piece(at, at + 1)
            delta = {"type": "text_delta", "text": part.decode()}
        return between + (self._event("content_block_delta", index=index, delta=delta) if part else b"")

    def _template(self) -> bytes:
        delta = {"type": "text_delta", "text": TEXT_MARK}
        data = event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
        return template(data, self._story.is_chunked, text_bytes=TOKEN_BYTES)

    def _event(self, name: str, **members: Any) -> bytes:
        return framed(event({"type": name, **members}, name), self._story.is_chunked)


def whole(story: Story) -> bytes:
    """Return the body of an answer that is not streamed."""
    reply = story.replies[0]
    content: list[Json] = [{"type": "text", "text": reply.shown.decode()}] if reply.shown else []
    for call in reply.calls:
        # Of a call that was cut off nothing can be read.
        given = orjson.loads(call.arguments) if call.end <= reply.tokens else {}
        content.append({**_tool_use(call), "input": given})
    return orjson.dumps(_message_of(story, content, reply.tokens, is_over=True))


def _tool_use(call: Call) -> Json:
    return {"type": "tool_use", "id": f"toolu_{call.call_id}", "name": call.name}


MESSAGES = Api(read, MessageEvents, whole, "anthropic")
