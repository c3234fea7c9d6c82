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
    """A call of a tool."""

    call_id: str
    name: str
    arguments: bytes
    """As JSON."""

    @property
    def before_arguments(self) -> int:
        """Bytes of its content before its arguments."""
        return call_content(self.name, self.arguments).index(b',"arguments":') + len(b',"arguments":')


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says to one request: text, or the call of a tool."""

    tokens: int
    finish: Finish
    text: bytes = b""
    """`TOKEN_BYTES` a token."""
    ids: bytes = b""
    """`ID_BYTES` a token, or nothing where the prompt was text."""
    call: Call | None = None
    shown_bytes: int = 0
    """Of the text, what the client is told: a stop word is generated and not told."""
    stop: str | None = None
    """The client's word that ended it."""
    is_prose: bool = True
    """The text holds nothing that a JSON string must escape."""

    @property
    def shown(self) -> bytes:
        """Return the text that the client is told."""
        return self.text[: self.shown_bytes]

    def piece(self, start: int, end: int) -> bytes:
        """Return the text of the tokens [start, end)."""
        if not self.is_prose and not self.text.isascii():
            # No character is cut in two.
            return self.shown if end >= self.tokens else b""
        return self.text[TOKEN_BYTES * start : min(TOKEN_BYTES * end, self.shown_bytes)]

    def arguments(self, start: int, end: int) -> bytes:
        """Return the part of its call's arguments that the tokens [start, end) bring."""
        assert self.call is not None
        before, given = self.call.before_arguments, self.call.arguments
        low, high = (min(max(0, TOKEN_BYTES * at - before), len(given)) for at in (start, end))
        return given[low:high]

    def id_list(self) -> list[int]:
        """Return its token ids."""
        return [int(each) for each in self.ids[: ID_BYTES * self.tokens - 1].split(b",")]

    def content(self) -> Buffer:
        """Return the reply as it continues the prompt's content."""
        if self.ids:
            return array("I", self.id_list()).tobytes()
        if self.call is not None:
            return call_content(self.call.name, self.call.arguments)[: TOKEN_BYTES * self.tokens]
        return self.text[: TOKEN_BYTES * self.tokens]

    def marks(self, at: int) -> tuple[tuple[int, int], ...]:
        """Return what begins with it in content that it continues from byte `at` on."""
        return () if self.call is None else ((at, MARKS["call"]),)
