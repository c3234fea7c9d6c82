"""Nodes and prompts: what an agent would send, without holding a single token of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from swarm.streams import digest64


@dataclass(frozen=True, slots=True)
class Echo:
    """A stretch [start, end) of a node whose content is a real reply instead of planned text."""

    start: int
    end: int
    text: str


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
