"""Tree to bytes: what a prompt looks like on the wire, as slices of one shared corpus.

What a node holds at a position is a pure function of (node key, position), so prefixes are the same bytes
in every turn, agent and process, and nothing has to be remembered or encoded to send them again.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache
from hashlib import shake_256
from typing import Self

import numpy as np
import orjson

from swarm.context.forget import Forget
from swarm.context.tree import Echo, Node, Prompt
from swarm.streams import digest64

Buffer = bytes | memoryview
Fit = Callable[[str, int], str]

CORPUS_TOKENS = 1 << 20
CHUNK_TOKENS = 4096
"""Planned content takes a new place in the corpus this often, so that no node runs past its end."""

WORD_BYTES = 4
"""Of a word in a text: a space and three letters."""

_MASK = 0xFFFF_FFFF_FFFF_FFFF

# A space and three letters: 4 bytes each, and one token each in the usual byte-pair vocabularies, so that
# planned text has about as many tokens on a real server as on the emulated one.
WORDS = (
    b" the and for are but not you all any can had her was one our out day get has him his how man new"
    b" now old see two way who boy did its let put say she too use dad mom act add age ago air arm art"
    b" ask bad bag ban bar bed bet big bit box bus buy cap car cat cop cow cry cup cut dog dry due ear"
    b" eat egg end eye far fat few fit fix fly fun gap gas god gun guy hit hot ice ill job joy key kid"
    b" law lay leg lie lip log lot low map mix net nor nut odd off oil own pan pay pen per pet pie pop"
    b" pot raw red rid row run sad sea set sex sir sit six sky son sun tax tea ten tie tip toe ton top"
    b" toy try van via war web wet why win yes yet api app bin bug cmd col def dev dir doc env err exp"
    b" gen git hex idx img int lib lin max mem min mod msg num obj opt org pad ptr pub ref reg rel req"
    b" res ret seq sql src std str sub sum sys tab tag tmp url val var vec ver xml zip aim aid bay bid"
    b" bow cab cam dim dip dot dub elf era eve fan fee fig fin fog fox fur gel gem gum gym ham hat hay"
    b" hen hip hub hug ink inn jam jar jaw jet jug ads aha ale ant ape"
)


@dataclass(slots=True)
class Begun:
    """The start of a node as an alphabet writes it: its name, then a slice for each chunk asked for."""

    node: weakref.ref[Node]
    named: int
    """Bytes before the end of the name, counted from the root."""
    first: int
    """The chunk in which the name ends."""
    slices: list[Buffer]


class Alphabet(ABC):
    """How positions become bytes: a corpus, the places where its slices may start, names and replies.

    Both alphabets are the inside of a JSON value: of a string for text, of a list for ids, where every id
    brings its comma along. Rendered buffers are slices, so a prompt of 128k tokens costs some 40 objects.
    """

    __slots__ = ("_begun", "_chunk_bytes", "_corpus", "_grain", "_nonce", "_places", "_scale")

    def __init__(self, corpus: memoryview, grain: int, bytes_per_token: float) -> None:
        self._begun: dict[int, Begun] = {}
        """By the node's id, as long as the node lives."""
        self._corpus = corpus
        self._grain = grain
        self._scale = bytes_per_token
        self._nonce = 0
        self._chunk_bytes = CHUNK_TOKENS * grain
        self._places = (len(corpus) - self._chunk_bytes) // grain

    def with_nonce(self, text: str) -> Self:
        """Return this alphabet with roots named otherwise, so that no prompt begins as without it.

        The corpus is shared. Prompts of one tree share prefixes among each other as before.
        """
        other = copy(self)
        other._begun = {}
        other._nonce = digest64(text)
        return other

    def key_of(self, node: Node) -> int:
        """Return what tells a node from all others, also from those of other runs where it is a root."""
        return node.key ^ self._nonce if node.parent is None else node.key

    @property
    def bytes_per_token(self) -> float:
        """Bytes that a planned token has."""
        return self._scale

    def _name_of(self, node: Node) -> bytes:
        return self.name(self.key_of(node))

    @abstractmethod
    def name(self, key: int) -> bytes:
        """Return what a node starts with, so that no two nodes share a prefix by accident."""

    @abstractmethod
    def write(self, text: str, tokens: int) -> bytes:
        """Return a reply of so many tokens; nothing if it cannot be written in this alphabet."""

    @abstractmethod
    def text_of(self, wire: bytes) -> str:
        """Return the reply that was written so."""

    @abstractmethod
    def part(self, echo: Echo, end: int) -> bytes:
        """Return a written reply up to position `end`, before its own."""

    def render(self, prompt: Prompt) -> list[Buffer]:
        """Return the content of a whole prompt."""
        # `prompt.path` without its named tuples, which cost more than the lookup of what a node starts with.
        path: list[tuple[Node, int]] = []
        above: Node | None = prompt.node
        reach = prompt.length
        while above is not None:
            if reach > above.start:
                path.append((above, reach))
                reach = above.start
            above = above.parent
        path.reverse()
        out: list[Buffer] = []
        for node, end in path:
            if node.echoes:
                out.clear()
                for _, buffers in self.segments(prompt):
                    out += buffers
                return out
            self._from_its_start(node, end, out)
        return out

    def segments(self, prompt: Prompt, from_token: int = 0) -> Iterator[tuple[bool, list[Buffer]]]:
        """Yield the prompt as (is a server's reply, content), where two neighbours differ in kind.

        `from_token` lies before any reply.
        """
        replied, out = False, list[Buffer]()
        for node, start, end in prompt.path():
            if end <= from_token:
                continue
            position = max(start, from_token)
            for echo in node.echoes or ():
                if echo.start >= end:
                    break
                if not echo.is_written(self):
                    echo.write(self, self.write(echo.text, echo.end - echo.start))
                text = echo.wire
                if not text:
                    continue
                if echo.end > end:
                    text = self.part(echo, end)
                if echo.start > position:
                    if replied:
                        yield replied, out
                        replied, out = False, []
                    self._planned(node, position, echo.start, out)
                if not replied:
                    if out:
                        yield replied, out
                    replied, out = True, []
                out.append(text)
                position = min(echo.end, end)
            if position < end:
                if replied:
                    yield replied, out
                    replied, out = False, []
                self._planned(node, position, end, out)
        if out:
            yield replied, out

    def _from_its_start(self, node: Node, end: int, out: list[Buffer]) -> None:
        """Append the planned content of `node` up to `end`; whole chunks are sliced once for all turns."""
        begun = self._begun.get(id(node))
        if begun is None:
            begun = self._begun[id(node)] = self._begin(node)
        stop, chunk_bytes = int(end * self._scale), self._chunk_bytes
        if stop <= begun.named:
            out.append(begun.slices[0][: stop - int(node.start * self._scale)])
            return
        chunk = stop // chunk_bytes
        slices, whole = begun.slices, chunk - begun.first + 1
        while len(slices) < whole:
            slices.append(self._slice(node.key, begun.first + len(slices) - 1, 0, chunk_bytes))
        out += slices[:whole] if len(slices) > whole else slices
        at = max(begun.named, chunk * chunk_bytes)
        if at < stop:
            out.append(self._slice(node.key, chunk, at - chunk * chunk_bytes, stop - at))

    def _begin(self, node: Node) -> Begun:
        """Return the start of a node: its name, and what is left of the chunk in which that ends."""
        name, chunk_bytes = self._name_of(node), self._chunk_bytes
        named = int(node.start * self._scale) + len(name)
        first, offset = divmod(named, chunk_bytes)
        reference = weakref.ref(node, Forget(self._begun, id(node)))
        return Begun(
            reference, named, first, [name, self._slice(node.key, first, offset, chunk_bytes - offset)]
        )

    def _slice(self, key: int, chunk: int, offset: int, size: int) -> memoryview:
        """Return `size` bytes from `offset` on of a node's chunk."""
        # SplitMix64's finalizer, cut short: cheap, and neighbours come out far apart.
        mixed = ((key ^ chunk) * 0x9E37_79B9_7F4A_7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 29)) * 0xBF58_476D_1CE4_E5B9) & _MASK
        place = (mixed >> 20) % self._places * self._grain + offset
        return self._corpus[place : place + size]

    def _planned(self, node: Node, start: int, end: int, out: list[Buffer]) -> None:
        """Append the planned content of `node` on [start, end)."""
        if start == node.start:
            self._from_its_start(node, end, out)
            return
        scale, chunk_bytes, key = self._scale, self._chunk_bytes, node.key
        at, stop, origin = int(start * scale), int(end * scale), int(node.start * scale)
        name = self._name_of(node)
        if at < origin + len(name):
            out.append(name[at - origin : stop - origin])
            at = origin + len(name)
        while at < stop:
            chunk, offset = divmod(at, chunk_bytes)
            step = min(chunk_bytes - offset, stop - at)
            out.append(self._slice(key, chunk, offset, step))
            at += step


class TextAlphabet(Alphabet):
    """Words of 4 bytes."""

    __slots__ = ()

    def name(self, key: int) -> bytes:
        """Return the key in hexadecimal: 4 tokens."""
        return b"%016x" % key

    def write(self, text: str, tokens: int) -> bytes:
        """Return the reply, escaped for JSON."""
        return orjson.dumps(text)[1:-1]

    def text_of(self, wire: bytes) -> str:
        """Return the reply that was written so."""
        text: str = orjson.loads(b'"' + wire + b'"')
        return text

    def part(self, echo: Echo, end: int) -> bytes:
        """Return the part's share of the characters, rounded down."""
        text = echo.text
        return self.write(text[: len(text) * (end - echo.start) // (echo.end - echo.start)], 0)


class WordAlphabet(TextAlphabet):
    """Words of 4 bytes that are one token each for a given tokenizer; names are words, too.

    `fit` makes a reply as many tokens as it has positions; without it replies are sent as they came.
    """

    __slots__ = ("_fit", "_words")

    def __init__(self, corpus: memoryview, words: tuple[bytes, ...], fit: Fit | None) -> None:
        self._words = words
        self._fit = fit
        super().__init__(corpus, WORD_BYTES, float(WORD_BYTES))

    def write(self, text: str, tokens: int) -> bytes:
        """Return the reply of so many tokens, escaped for JSON."""
        return super().write(text if self._fit is None else self._fit(text, tokens), tokens)

    def part(self, echo: Echo, end: int) -> bytes:
        """Return the part's share of the characters, as long as it has positions."""
        text, tokens = echo.text, end - echo.start
        return self.write(text[: len(text) * tokens // (echo.end - echo.start)], tokens)

    def name(self, key: int) -> bytes:
        """Return the key's digits in base `len(words)`."""
        base, digits, limit = len(self._words), list[int](), 1
        while limit <= _MASK:
            key, digit = divmod(key, base)
            digits.append(digit)
            limit *= base
        return b"".join(self._words[digit] for digit in digits)


class IdAlphabet(Alphabet):
    """Token ids of one width, padded with spaces, each with a comma after it."""

    __slots__ = ("_high", "_low", "_width")

    def __init__(self, corpus: memoryview, low: int, high: int) -> None:
        self._low, self._high, self._width = low, high, len(str(high))
        super().__init__(corpus, self._width + 1, float(self._width + 1))

    def name(self, key: int) -> bytes:
        """Return the key's digits in base (high - low + 1): 5 ids where that is 7,192."""
        base, digits, limit = self._high - self._low + 1, list[int](), 1
        while limit <= _MASK:
            key, digit = divmod(key, base)
            digits.append(self._low + digit)
            limit *= base
        return b"".join(b"%*d," % (self._width, digit) for digit in digits)

    def write(self, text: str, tokens: int) -> bytes:
        """Return the reply's ids; nothing for a reply that is not as many ids as it has positions."""
        ids = text.split(",")
        return f"{text},".encode() if len(ids) == tokens and all(map(str.isdecimal, ids)) else b""

    def text_of(self, wire: bytes) -> str:
        """Return the reply that was written so."""
        return wire[:-1].decode()

    def part(self, echo: Echo, end: int) -> bytes:
        """Return the ids up to a position."""
        return b"".join(each + b"," for each in echo.wire.split(b",", end - echo.start)[: end - echo.start])


@cache
def text_alphabet(bytes_per_token: float) -> TextAlphabet:
    """Return the alphabet of words at so many bytes a token; the emulated provider has exactly 4."""
    words = np.frombuffer(WORDS, dtype=np.dtype("S4"))
    draws = np.frombuffer(shake_256(b"swarm text corpus").digest(CORPUS_TOKENS), dtype=np.uint8)
    return TextAlphabet(memoryview(words[draws].tobytes()), words.itemsize, bytes_per_token)


@cache
def word_alphabet(words: tuple[bytes, ...], fit: Fit | None = None) -> WordAlphabet:
    """Return the alphabet of `words`, all of `WORD_BYTES`; `fit` gives replies their planned tokens."""
    cells = np.frombuffer(b"".join(words), dtype=np.dtype(("S", WORD_BYTES)))
    draws = np.frombuffer(shake_256(b"swarm word corpus").digest(4 * CORPUS_TOKENS), dtype="<u4")
    return WordAlphabet(memoryview(cells[draws % len(cells)].tobytes()), words, fit)


@cache
def id_alphabet(low: int, high: int) -> IdAlphabet:
    """Return the alphabet of the token ids in [low, high]."""
    draws = np.frombuffer(shake_256(b"swarm id corpus").digest(4 * CORPUS_TOKENS), dtype="<u4")
    width = len(str(high))
    # One cell of text per id of the range; JSON allows spaces before a number, not zeros.
    cells = np.frombuffer(
        b"".join(b"%*d," % (width, token) for token in range(low, high + 1)), dtype=np.dtype(("S", width + 1))
    )
    return IdAlphabet(memoryview(cells[draws % len(cells)].tobytes()), low, high)
