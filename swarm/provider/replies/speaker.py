"""Which reply a request gets: how long, a call or text, and why it ends."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import orjson

from swarm.config.serving import ServingConfig
from swarm.provider.api_request import ApiRequest, Choice, Format, Tool
from swarm.provider.content import call_content
from swarm.provider.fingerprints import TOKEN_BYTES, tokens_of
from swarm.provider.refusal import invalid
from swarm.provider.replies.prose import ids, words
from swarm.provider.replies.reply import Call, Finish, Reply
from swarm.provider.replies.schema import SchemaFault, value_for
from swarm.provider.tokens import Tokenizer
from swarm.streams import digest64, stream

ACTS = re.compile(
    r"bash|shell|exec|run|command|cmd|terminal|eval|python|script|code|sql|kill|write|edit|patch|create|delete"
    r"|remove|move|rename|install|send|post|upload|deploy",
    re.IGNORECASE,
)
"""Names of tools, and of what they are given, by which something may happen."""
CALLS_MAX = 8
"""Of one reply."""
HARMLESS = "true"
"""Said for every text of a tool that acts, where the client insists on a call of it."""


class Speaker:
    """Makes replies by a served fleet's settings."""

    def __init__(self, config: ServingConfig, tokenizer: Tokenizer) -> None:
        self._config = config
        self._tokenizer = tokenizer
        # What replies are cut from is made before the first of them is due.
        words("", 1, tokenizer.words)
        ids("", 1)

    def reply(self, ask: ApiRequest, name: str, room: int, *, is_ids: bool) -> Reply:
        """Return the reply of a name, of at most `room` tokens; raises `Fault`.

        Two replies of one name are the same.
        """
        most = self._most(ask, name, room)
        tool = self._called(ask.choice, name, is_open=not ask.length.is_full)
        if tool is not None:
            return self._calls(tool, ask.choice, name, most)
        if ask.format is not None:
            return self._formatted(ask, name, most)
        return self._prose(ask, name, most, is_ids=is_ids)

    def _most(self, ask: ApiRequest, name: str, room: int) -> int:
        """Return how long the reply may be: what was asked for, or what is left."""
        asked = ask.length.asked
        return room if asked is None else min(asked, room)

    def _prose(self, ask: ApiRequest, name: str, most: int, *, is_ids: bool) -> Reply:
        length = ask.length
        tokens, finish = most, "length"
        if length.asked is None or not length.is_exact:
            drawn = max(self._drawn(name), length.least)
            if drawn <= most or length.asked is None:
                tokens, finish = min(drawn, most), "stop"
        text = words(name, tokens, self._tokenizer.words)
        coded = self._coded(text)
        if ask.stops:
            stopped = _stopped(text, ask.stops, length.least, coded)
            if stopped is not None:
                return stopped
        known = ids(name, tokens) if is_ids and not coded else b""
        return Reply(tokens, _finish(finish), text, known, shown_bytes=len(text), coded=coded)

    def _coded(self, text: bytes) -> bytes:
        """Return a text's ids, where a real tokenizer counts."""
        return bytes(self._tokenizer.content(text)) if self._tokenizer.is_real else b""

    def _drawn(self, name: str) -> int:
        """Return the length of a reply that the model ends by itself."""
        lengths = self._config.output_tokens
        drawn = lengths.median
        if lengths.sigma:
            drawn *= math.exp(lengths.sigma * float(stream(0, "length", name).standard_normal()))
        return max(1, round(min(max(drawn, lengths.least), lengths.most)))

    def _called(self, choice: Choice, name: str, *, is_open: bool) -> Tool | None:
        """Return the tool that the model calls; None where it calls none."""
        if choice.kind == "none" or not choice.tools:
            return None
        is_forced = choice.kind == "required"
        if not is_forced and not (is_open and _chance(f"call {name}", self._config.tool_call_rate)):
            return None
        return self._picked(choice, name)

    def _picked(self, choice: Choice, name: str) -> Tool | None:
        """Return one of the tools that may be called, if one of them may be."""
        safe = [tool for tool in choice.tools if self._is_safe(tool)]
        if not safe and choice.kind == "required":
            safe = list(choice.tools)
        return safe[digest64(f"tool {name}") % len(safe)] if safe else None

    def _is_safe(self, tool: Tool) -> bool:
        """Return whether a call does no harm: nothing acts, or every text of it is listed."""
        if not _acts(tool):
            return True
        listed = self._config.tool_arguments.get(tool.name, {})
        named = _properties(tool)
        required = tool.schema.get("required")
        needed = [each for each in required if isinstance(each, str)] if isinstance(required, list) else []
        return bool(listed) and all(name in listed or not _is_text(named.get(name)) for name in needed)

    def _calls(self, tool: Tool, choice: Choice, name: str, most: int) -> Reply:
        """Return a reply that calls a tool, and maybe more; of those only what is whole within `most`."""
        call, coded = self._call(tool, name, 0)
        calls, codes = [call], [coded]
        for count in range(1, 1 if choice.is_single else CALLS_MAX):
            if not _chance(f"more {count} {name}", self._config.parallel_call_rate):
                break
            named = f"{name} call {count}"
            call, coded = self._call(self._picked(choice, named) or tool, named, calls[-1].end)
            if call.end > most:
                break
            calls.append(call)
            codes.append(coded)
        tokens = calls[-1].end
        finish: Finish = "tool_calls" if tokens <= most else "length"
        told = tuple(calls)
        return Reply(min(tokens, most), finish, calls=told, is_prose=False, coded=b"".join(codes))

    def _call(self, tool: Tool, name: str, start: int) -> tuple[Call, bytes]:
        """Return a call that follows so many tokens of its reply, and its ids where a tokenizer counts."""
        arguments = orjson.dumps(self._arguments(tool, name))
        said = call_content(tool.name, arguments)
        coded = self._coded(said)
        tokens = len(coded or said) // TOKEN_BYTES
        call_id = f"{digest64(f'id {name}'):016x}"
        return Call(call_id, tool.name, arguments, start, tokens, self._tokenizer.cuts(said)), coded

    def _arguments(self, tool: Tool, name: str) -> dict[str, Any]:
        """Return values for a tool: those that the fleet lists, else made-up ones that fit its schema."""
        chance = stream(0, "arguments", name)
        listed = self._config.tool_arguments.get(tool.name, {})
        acts = _acts(tool)
        schema = _narrowed(tool.schema, listed, is_listed_only=acts)
        try:
            value = value_for(schema, chance)
        except SchemaFault as fault:
            if schema is tool.schema or listed:
                raise _unfit(tool, fault) from None
            try:
                value = value_for(tool.schema, chance)
            except SchemaFault as other:
                raise _unfit(tool, other) from None
        if not isinstance(value, dict):
            raise invalid(f"tools: the parameters of {tool.name!r} are no object", "tools")
        return value

    def _formatted(self, ask: ApiRequest, name: str, most: int) -> Reply:
        """Return a reply in the form that the client asks for."""
        assert ask.format is not None
        text = _text_of(ask.format, stream(0, "format", name))
        coded, cuts = self._coded(text), self._tokenizer.cuts(text)
        tokens = tokens_of(len(coded or text))
        finish: Finish = "stop" if tokens <= most else "length"
        tokens = min(tokens, most)
        text = text[: cuts[tokens - 1] if cuts else TOKEN_BYTES * tokens]
        return Reply(
            tokens, finish, text, shown_bytes=len(text), is_prose=False, coded=coded, cuts=cuts[:tokens]
        )


def _narrowed(
    schema: dict[str, Any], listed: dict[str, tuple[Any, ...]], *, is_listed_only: bool
) -> dict[str, Any]:
    """Return a tool's schema with the values that are listed, and for one that acts with no others."""
    properties = schema.get("properties")
    if not (listed or is_listed_only) or not isinstance(properties, dict):
        return schema
    required = schema.get("required") or []
    kept: dict[str, Any] = {}
    for name, part in properties.items():
        if name in listed:
            kept[name] = {"enum": list(listed[name])}
        elif not is_listed_only:
            kept[name] = part
        elif name in required:
            kept[name] = {"const": HARMLESS} if _is_text(part) else part
    named = [name for name in listed if name in kept and name not in required]
    return {**schema, "properties": kept, "required": [*required, *named]}


def _acts(tool: Tool) -> bool:
    return bool(ACTS.search(tool.name)) or any(map(ACTS.search, _properties(tool)))


def _properties(tool: Tool) -> dict[str, Any]:
    found = tool.schema.get("properties")
    return found if isinstance(found, dict) else {}


def _is_text(schema: object) -> bool:
    """Return whether a property may be any text."""
    if not isinstance(schema, dict):
        return True
    return "enum" not in schema and "const" not in schema and schema.get("type", "string") == "string"


def _unfit(tool: Tool, fault: SchemaFault) -> Exception:
    return invalid(f"tools: {tool.name!r}: {fault}", "tools")


def _text_of(form: Format, chance: np.random.Generator) -> bytes:
    """Return a text in a form; raises `Fault`."""
    if form.choices:
        return form.choices[int(chance.integers(len(form.choices)))].encode()
    assert form.schema is not None
    try:
        text = json.dumps(value_for(form.schema, chance), separators=(",", ":")).encode()
    except SchemaFault as fault:
        raise invalid(f"{form.member}: {fault}", form.member) from None
    if text[-1:] in b"}]":
        text = text[:-1] + b" " * (-len(text) % TOKEN_BYTES) + text[-1:]
    return text


def _stopped(text: bytes, stops: tuple[str, ...], least: int, coded: bytes) -> Reply | None:
    """Return the reply that ends with the first of the client's words in it; None where there is none."""
    found: list[tuple[int, str]] = []
    for stop in stops:
        # The first that ends in a token from which on the reply may end.
        word = stop.encode()
        at = text.find(word, max(0, TOKEN_BYTES * (least - 1) + 1 - len(word)))
        if at >= 0:
            found.append((at, stop))
    if not found:
        return None
    at, stop = min(found)
    tokens = tokens_of(at + len(stop.encode()))
    return Reply(tokens, "stop", text[: TOKEN_BYTES * tokens], shown_bytes=at, stop=stop, coded=coded)


def _chance(name: str, rate: float) -> bool:
    """Return whether what happens at a rate happens here."""
    return digest64(name) < rate * 2**64


def _finish(name: str) -> Finish:
    return "stop" if name == "stop" else "length"
