"""A request's content: the bytes that its tokens are made of, and where a role begins in them.

A token is 4 bytes of content: of its text, or its id where a real tokenizer counts. Roles add no bytes, so
that planned lengths stay exact; where a message begins is marked instead, and a mark changes the identity of
the block that it lies in. What the model said comes back in one form, whichever API brings it: a call of a
tool is `{"name":...,"arguments":...}`.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from swarm.provider.fingerprints import TOKEN_BYTES, tokens_of
from swarm.provider.long_parts import loads, mark
from swarm.provider.refusal import invalid
from swarm.provider.tokens import Tokenizer

Json: TypeAlias = dict[str, Any]
Buffer: TypeAlias = bytes | memoryview
MARKS = {"tools": 1, "system": 2, "user": 3, "assistant": 4, "tool": 5, "call": 6}
"""What content begins as; roles that templates treat alike are one."""


@dataclass(frozen=True, slots=True)
class Content:
    """A prompt's content."""

    parts: tuple[Buffer, ...]
    """Joined once, with the reply behind them."""
    size: int
    marks: tuple[tuple[int, int], ...] = ()
    """Byte and kind of each beginning."""
    is_ids: bool = False
    """Token ids of 4 bytes each, else UTF-8."""

    @property
    def tokens(self) -> int:
        """How many tokens it is, at least one."""
        return max(1, tokens_of(self.size))


class Body:
    """A request's JSON, of which long strings stay as they came."""

    def __init__(self, data: bytes) -> None:
        try:
            members, self.lifted = loads(data)
        except orjson.JSONDecodeError as error:
            raise invalid(f"the body is not JSON: {error}"[:300]) from None
        if not isinstance(members, dict):
            raise invalid("the body is not a JSON object")
        self.members: Json = members

    def text(self, text: str, member: str) -> Buffer:
        """Return a string's bytes."""
        if self.lifted and text[:1] == "\x00":
            return self.lifted[int(text[1:])].content
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise invalid(f"{member}: half of a surrogate pair", member) from None

    def is_lifted_ids(self, text: str) -> bool:
        """Return whether a string stands for a list of token ids."""
        return any(value.is_ids and text == mark(place) for place, value in enumerate(self.lifted))

    def json(self, value: object, member: str) -> bytes:
        """Return a value as JSON, with what was lifted out of it."""
        try:
            data = orjson.dumps(value)
        except orjson.JSONEncodeError as error:
            raise invalid(f"{member}: {error}", member) from None
        for place, each in enumerate(self.lifted):
            data = data.replace(orjson.dumps(mark(place)), b"".join((b'"', each.content, b'"')))
        return data

    def plain(self, value: object) -> Any:
        """Return a value with every string in it whole, for what is looked at and not only counted."""
        if not self.lifted:
            return value
        if isinstance(value, str):
            return bytes(self.text(value, "")).decode() if value[:1] == "\x00" else value
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, dict):
            return {key: self.plain(each) for key, each in value.items()}
        return value


class Writer:
    """Puts a prompt's content together, message by message."""

    __slots__ = (
        "_template_tokens",
        "_tokenizer",
        "body",
        "breakpoints",
        "continues",
        "last",
        "marks",
        "parts",
        "size",
    )

    def __init__(self, body: Body, template_tokens: int, tokenizer: Tokenizer) -> None:
        self.body = body
        self._template_tokens = template_tokens
        self._tokenizer = tokenizer
        self.continues = False
        """The reply goes on with the last message."""
        self.parts: list[Buffer] = []
        self.size = 0
        self.marks: list[tuple[int, int]] = []
        self.last = ""
        self.breakpoints: list[tuple[int, float]] = []
        """Byte and seconds: up to where, and how long, a client asks to have it kept."""

    def begin(self, kind: str) -> None:
        """Mark that a message begins here, and write what a template puts before it."""
        self.marks.append((self.size, MARKS[kind]))
        self.last = kind
        if self._template_tokens:
            self._append(self._tokenizer.turn(kind, self._template_tokens))

    def text(self, text: str, member: str) -> None:
        """Append a string."""
        self.put(self.body.text(text, member))

    def json(self, value: object, member: str) -> None:
        """Append a value as JSON."""
        self.put(self.body.json(value, member))

    def call(self, name: str, arguments: Buffer) -> None:
        """Append a call of a tool."""
        self.marks.append((self.size, MARKS["call"]))
        self.put(call_content(name, arguments))

    def put(self, part: Buffer) -> None:
        """Append a text."""
        self._append(self._tokenizer.content(part))

    def _append(self, part: Buffer) -> None:
        """Append content."""
        self.parts.append(part)
        self.size += len(part)

    def keep(self, seconds: float) -> None:
        """Note that the client asks to have everything up to here kept for so long."""
        self.breakpoints.append((self.size, seconds))

    def extend(self, before: Content) -> None:
        """Append what was said before."""
        self.marks += [(self.size + at, kind) for at, kind in before.marks]
        self.parts += before.parts
        self.size += before.size

    def content(self) -> Content:
        """Return all of it, up to where the reply begins."""
        if not self.continues:
            self.begin("assistant")
        return Content(tuple(self.parts), self.size, tuple(self.marks))


def call_content(name: str, arguments: Buffer) -> bytes:
    """Return a call as content of whole tokens."""
    start = b'{"name":%b,"arguments":' % orjson.dumps(name)
    pad = b" " * (-(len(start) + len(arguments) + 1) % TOKEN_BYTES)
    return b"".join((start, arguments, pad, b"}"))


def ids_content(values: list[Any], member: str) -> Content:
    """Return token ids as content."""
    try:
        data = array("I", values).tobytes()
    except (TypeError, OverflowError):
        raise invalid(f"{member}: token ids are whole numbers from 0 to {2**32 - 1}", member) from None
    return Content((data,), len(data), is_ids=True)
