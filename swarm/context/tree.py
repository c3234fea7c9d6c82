"""Nodes and prompts: what an agent would send, without holding a single token of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from swarm.streams import digest64


class Writing(Protocol):
    """A way to write replies as bytes."""

    def text_of(self, wire: bytes) -> str:
        """Return the text of a reply that was written so."""


class Echo:
    """A stretch [start, end) of a node whose content is a real reply instead of planned text.

    Once it has been written, the bytes take the place of the text: they are sent again with every turn.
    """

    __slots__ = ("_text", "_writing", "end", "start", "wire")

    def __init__(self, start: int, end: int, text: str) -> None:
        self.start = start
        self.end = end
        self._text: str | None = text
        self._writing: Writing | None = None
        self.wire = b""

    @property
    def text(self) -> str:
        """The reply."""
        if self._text is not None:
            return self._text
        assert self._writing is not None
        return self._writing.text_of(self.wire)

    def is_written(self, writing: Writing) -> bool:
        """Return whether `wire` is what that way of writing made of it."""
        return self._writing is writing

    def write(self, writing: Writing, wire: bytes) -> None:
        """Keep what a way of writing made of it; empty where it cannot write it."""
        self._text = None if wire else self.text
        self._writing, self.wire = writing, wire

    def __reduce__(self) -> tuple[object, ...]:
        return Echo, (self.start, self.end, self.text)


class Node:
    """An append-only stretch of content that branches off its parent at token position `start`.

    Positions count from the root, so the content of a prompt `(node, length)` is: the parent's up to
    `node.start`, then this node's own on [start, length). A node has no end of its own: it is planned
    text, determined by its name and the position alone, for as far as anyone asks; `echoes` overrides
    stretches of it with what a server really answered. Equality is identity: one process makes one
    node for one name.
    """

    __slots__ = ("__weakref__", "echoes", "key", "name", "parent", "start")

    def __init__(self, name: str, parent: Node | None = None, start: int = 0) -> None:
        assert (parent is None) == (start == 0), (
            f"node {name!r}: a root starts at 0, a branch after its parent"
        )
        assert parent is None or start > parent.start, (
            f"node {name!r} starts before its parent {parent.name!r}"
        )
        self.name: str = name
        self.parent: Node | None = parent
        self.start: int = start
        self.key = digest64(name)
        self.echoes: list[Echo] | None = None

    def __repr__(self) -> str:
        return f"Node({self.name!r}, start={self.start})"

    def echo(self, start: int, end: int, text: str) -> None:
        """Let [start, end) hold a server's reply; stretches arrive in order and do not overlap."""
        if self.echoes is None:
            self.echoes = []
        assert start >= max(self.start, self.echoes[-1].end if self.echoes else 0)
        self.echoes.append(Echo(start, end, text))

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.name, self.parent, self.start, self.echoes)


def _restore(name: str, parent: Node | None, start: int, echoes: list[Echo] | None) -> Node:
    node = Node(name, parent, start)
    node.echoes = echoes
    return node


class Stretch(NamedTuple):
    """The part [start, end) of one node that lies on a prompt's path."""

    node: Node
    start: int
    end: int


class Prompt(NamedTuple):
    """A place in a context tree: everything on the path to `node`, `length` tokens in all."""

    node: Node
    length: int

    def path(self) -> list[Stretch]:
        """Return the stretches of the path, root first; they cover [0, length) without gaps."""
        node: Node | None = self.node
        end = self.length
        stretches: list[Stretch] = []
        while node is not None:
            if end > node.start:
                stretches.append(Stretch(node, node.start, end))
                end = node.start
            node = node.parent
        stretches.reverse()
        return stretches

    def branch(self, name: str) -> Prompt:
        """Return an empty branch at the end of this prompt: same content, a node of its own to append to."""
        node: Node | None = self.node
        while node is not None and node.start >= self.length:
            node = node.parent
        return Prompt(Node(name, node, self.length if node is not None else 0), self.length)

    def extend(self, tokens: int) -> Prompt:
        """Return the prompt with `tokens` more of its node's planned text."""
        return Prompt(self.node, self.length + tokens)


def root(name: str) -> Prompt:
    """Return an empty prompt at a new root."""
    return Prompt(Node(name), 0)
