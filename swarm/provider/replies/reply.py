"""A whole reply, known before its first token is due."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Literal

from swarm.provider.content import MARKS, Buffer, call_content
from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.replies.prose import ID_BYTES

Finish = Literal["length", "stop", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, and which of its reply's tokens it is."""

    call_id: str
    name: str
    arguments: bytes
    """As JSON."""
    start: int
    """Tokens of its reply before it."""
    tokens: int
    cuts: tuple[int, ...] = ()
    """Where each of its tokens ends, in bytes of its content; nothing: every `TOKEN_BYTES`."""

    @property
    def end(self) -> int:
        """Tokens of its reply up to its end."""
        return self.start + self.tokens

    def told(self, start: int, end: int) -> bytes:
        """Return the part of its arguments that its reply's tokens [start, end) bring."""
        before = call_content(self.name, self.arguments).index(b',"arguments":') + len(b',"arguments":')
        given = self.arguments
        low, high = (
            _whole(given, min(max(0, _at(self.cuts, at - self.start) - before), len(given)))
            for at in (start, end)
        )
        return given[low:high]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to one request: text, or calls of tools."""

    tokens: int
    finish: Finish
    text: bytes = b""
    """`TOKEN_BYTES` a token."""
    ids: bytes = b""
    """`ID_BYTES` a token, or nothing where the prompt was text."""
    calls: tuple[Call, ...] = ()
    """One after the other; a later one is whole."""
    shown_bytes: int = 0
    """Of the text, what the client is told: a stop word is generated and not told."""
    stop: str | None = None
    """The client's word that ended it."""
    is_prose: bool = True
    """The text holds nothing that a JSON string must escape, and is `TOKEN_BYTES` a token."""
    coded: bytes = b""
    """Its ids as content, where a real tokenizer counts."""
    cuts: tuple[int, ...] = ()
    """Where each token of its text ends, in bytes; nothing: every `TOKEN_BYTES`."""

    @property
    def shown(self) -> bytes:
        """Return the text that the client is told."""
        return self.text[: self.shown_bytes]

    def at(self, tokens: int) -> int:
        """Return where its first tokens end, in bytes of its text."""
        return _at(self.cuts, tokens)

    def piece(self, start: int, end: int) -> bytes:
        """Return the text of the tokens [start, end)."""
        text = self.text
        low, high = self.at(start), min(self.at(end), self.shown_bytes)
        return text[low:high] if self.is_prose else text[_whole(text, low) : _whole(text, high)]

    def pieces(self, start: int, end: int) -> list[str]:
        """Return the text of each of the tokens [start, end)."""
        return [self.piece(at, at + 1).decode() for at in range(start, end)]

    def call_at(self, at: int) -> int:
        """Return the place of the call that a token belongs to."""
        return next(place for place, call in enumerate(self.calls) if at < call.end)

    def id_list(self) -> list[int]:
        """Return its token ids."""
        if self.coded:
            return array("I", self.coded[: TOKEN_BYTES * self.tokens]).tolist()
        return [int(each) for each in self.ids[: ID_BYTES * self.tokens - 1].split(b",")]

    def id_at(self, at: int) -> int:
        """Return the id of a token."""
        if self.coded:
            return int.from_bytes(self.coded[TOKEN_BYTES * at : TOKEN_BYTES * at + TOKEN_BYTES], "little")
        return int(self.ids[ID_BYTES * at : ID_BYTES * at + ID_BYTES - 1])

    def content(self) -> Buffer:
        """Return the reply as it continues the prompt's content."""
        if self.coded:
            return self.coded[: TOKEN_BYTES * self.tokens]
        if self.ids:
            return array("I", self.id_list()).tobytes()
        if self.calls:
            said = b"".join(call_content(call.name, call.arguments) for call in self.calls)
            return said[: TOKEN_BYTES * self.tokens]
        return self.text[: TOKEN_BYTES * self.tokens]

    def marks(self, at: int) -> tuple[tuple[int, int], ...]:
        """Return what begins with it in content that it continues from byte `at` on."""
        return tuple((at + TOKEN_BYTES * call.start, MARKS["call"]) for call in self.calls)


def _at(cuts: tuple[int, ...], tokens: int) -> int:
    """Return where so many tokens end, in bytes."""
    if not cuts:
        return TOKEN_BYTES * tokens
    return cuts[min(tokens, len(cuts)) - 1] if tokens > 0 else 0


def _whole(text: bytes, at: int) -> int:
    """Return the end of the character that lies at a place: none is cut in two."""
    while at < len(text) and text[at] & 0xC0 == 0x80:
        at += 1
    return at
