"""A growing context made of contents, and the block ids that follow from them."""

from __future__ import annotations

from array import array
from hashlib import blake2b
from math import ceil
from struct import pack


class Content:
    """An append-only context; equal contents in equal order give equal ids, whoever appends them."""

    __slots__ = ("_block_tokens", "_chain", "ids", "tokens")

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._chain = 0
        self.ids = array("q")
        """One id for each whole block so far."""
        self.tokens = 0

    def copy(self) -> Content:
        """Return a context that starts as this one and goes its own way."""
        twin = Content(self._block_tokens)
        twin._chain = self._chain
        twin.ids = self.ids[:]
        twin.tokens = self.tokens
        return twin

    def append(self, name: int, tokens: int) -> None:
        """Append a content known by its 64-bit name; a block's id covers all before its end."""
        if name >= 1 << 63:
            name -= 1 << 64
        size = self._block_tokens
        for end in range((self.tokens // size + 1) * size, self.tokens + tokens + 1, size):
            self.ids.append(_digest(self._chain, name, end - self.tokens))
        self.tokens += tokens
        self._chain = _digest(self._chain, name, tokens)

    def mark(self, name: str) -> None:
        """Tell what follows apart from the same text under another name; takes no tokens."""
        self._chain = _digest(self._chain, name_of(name.encode()), 0)

    def append_text(self, text: bytes, bytes_per_token: float) -> None:
        """Append a text; another that starts as this one gives the same ids as far as they agree."""
        tokens = ceil(len(text) / bytes_per_token)
        size = self._block_tokens
        hashed = blake2b(digest_size=8)
        at = 0
        for end in range((self.tokens // size + 1) * size, self.tokens + tokens + 1, size):
            stop = min(len(text), round((end - self.tokens) * bytes_per_token))
            hashed.update(text[at:stop])
            at = stop
            name = int.from_bytes(hashed.digest(), "little", signed=True)
            self.ids.append(_digest(self._chain, name, end - self.tokens))
        hashed.update(text[at:])
        self.tokens += tokens
        self._chain = _digest(self._chain, int.from_bytes(hashed.digest(), "little", signed=True), tokens)


def name_of(content: bytes) -> int:
    """Return the 64-bit name of a content."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def _digest(chain: int, name: int, length: int) -> int:
    return name_of(pack("<qqq", chain, name, length))
