"""How text becomes tokens: 4 bytes each, or by a real tokenizer's file.

Content is 4 bytes a token either way: of the text itself, or the token's id. So whatever counts tokens, finds
blocks or marks places in content does not know which of the two it is.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from swarm.context.token_file import token_file
from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.replies.prose import REPLY_ID_HIGH, REPLY_ID_LOW, VOCABULARY

Buffer = bytes | memoryview
MEMBER = "fleet.serving.tokenizer"
KNOWN_BYTES_MAX = 64 << 20
"""Of texts' content, made before: a conversation's older messages come with every turn."""
KNOWN_FROM_BYTES = 64
"""Shorter texts are made tokens anew sooner than found."""


class Tokenizer(Protocol):
    """Text to content, and back."""

    words: tuple[bytes, ...]
    """What replies are made of: 4 bytes and one token each."""
    is_real: bool
    """Whether content is ids, whatever the prompt was."""

    def content(self, text: Buffer) -> Buffer:
        """Return a text's content."""

    def cuts(self, text: bytes) -> tuple[int, ...]:
        """Return where each token of a text ends, in bytes; nothing: every 4 bytes. No character is cut."""

    def ids(self, content: bytes) -> list[int]:
        """Return the ids of content."""

    def text(self, ids: list[int]) -> str:
        """Return the text of ids."""

    def pieces(self, ids: list[int]) -> list[str]:
        """Return each id's text, as it is behind others."""

    def turn(self, kind: str, tokens: int) -> bytes:
        """Return the content that a chat template puts before a message."""


class FourBytes:
    """The emulated tokenizer: 4 bytes are a token, and its id is their number."""

    words = VOCABULARY
    is_real = False

    def content(self, text: Buffer) -> Buffer:
        """Return the text itself: whole tokens only come of a whole prompt."""
        return text

    def cuts(self, text: bytes) -> tuple[int, ...]:
        """Return nothing."""
        return ()

    def ids(self, content: bytes) -> list[int]:
        """Return ids, the last one filled up with zeros: as a prompt they are the same content."""
        return array("I", content + bytes(-len(content) % TOKEN_BYTES)).tolist()

    def text(self, ids: list[int]) -> str:
        """Return the text of ids; the ids of replies, which no text makes, are words."""
        parts: list[bytes] = []
        for one in ids:
            if REPLY_ID_LOW <= one <= REPLY_ID_HIGH:
                parts.append(VOCABULARY[one % len(VOCABULARY)])
            else:
                parts.append(one.to_bytes(TOKEN_BYTES, "little").rstrip(b"\x00"))
        return b"".join(parts).decode(errors="replace")

    def pieces(self, ids: list[int]) -> list[str]:
        """Return each id's text."""
        return [self.text([one]) for one in ids]

    def turn(self, kind: str, tokens: int) -> bytes:
        """Return the kind's name in so many tokens."""
        return f"<|{kind}|>".encode()[: TOKEN_BYTES * tokens].ljust(TOKEN_BYTES * tokens)


class FileTokens:
    """The tokenizer of a file. A part of a message is made tokens by itself, as behind a special token."""

    is_real = True

    def __init__(self, path: Path) -> None:
        self._file = token_file(path, MEMBER)
        self.words = tuple(self._file.words())
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._known_bytes = 0
        self._last = self._file.ids(self.words[0].decode())[0]

    def content(self, text: Buffer) -> Buffer:
        """Return a text's ids, 4 bytes each."""
        data = bytes(text)
        if len(data) < KNOWN_FROM_BYTES:
            return self._made(data)
        key = blake2b(data, digest_size=16).digest()
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        found = self._known[key] = self._made(data)
        self._known_bytes += len(found)
        while self._known_bytes > KNOWN_BYTES_MAX:
            self._known_bytes -= len(self._known.popitem(last=False)[1])
        return found

    def cuts(self, text: bytes) -> tuple[int, ...]:
        """Return where each token of a text ends; of tokens that share a character the first has it."""
        shown = text.decode()
        ends = [end for _, end in self._file.encoded(shown).offsets]
        bytes_before = [0, *accumulate(len(each.encode()) for each in shown)]
        # What a normalizer drops at the end comes with the last token.
        return (*(bytes_before[end] for end in accumulate(ends[:-1], max)), len(text))

    def ids(self, content: bytes) -> list[int]:
        """Return ids."""
        return array("I", content).tolist()

    def text(self, ids: list[int]) -> str:
        """Return the text of ids; nothing for those that the vocabulary lacks."""
        return self._file.text(ids)

    def pieces(self, ids: list[int]) -> list[str]:
        """Return each id's text; some vocabularies write the first one's space otherwise."""
        before = len(self._file.text([self._last]))
        return [self._file.text([self._last, one])[before:] for one in ids]

    def turn(self, kind: str, tokens: int) -> bytes:
        """Return the ids of the kind's name, cut or filled up."""
        ids = self._file.ids(f"<|{kind}|>")[:tokens]
        return array("I", [*ids, *[self._last] * (tokens - len(ids))]).tobytes()

    def _made(self, data: bytes) -> bytes:
        return array("I", self._file.ids(data.decode(errors="replace"))).tobytes()


def tokenizer_of(path: Path | None) -> Tokenizer:
    """Return the tokenizer of a file, or without one the emulated; raises `ConfigError`."""
    return FourBytes() if path is None else FileTokens(path)
