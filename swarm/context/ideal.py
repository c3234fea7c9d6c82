"""Hits without limits: the most that any cache could have reused of a prompt.

Knows: what this run has sent, and which replies it has echoed. Does not know: time, capacity, servers.
"""

from __future__ import annotations

import weakref

from swarm.context.forget import Forget
from swarm.context.tree import Node, Prompt


class Known:
    """Up to where a node's own content is known, in tokens."""

    __slots__ = ("reach", "reference")

    def __init__(self, reach: int, reference: weakref.ref[Node]) -> None:
        self.reach = reach
        self.reference = reference
        """It drops the entry when the node dies."""


class Ideal:
    """Content known so far, as one length for each node; a node is forgotten with its last holder.

    Whoever sent a part of a node sent all of the path above it, so the first known node, seen from the
    prompt's end, tells the whole hit: a send takes a few steps, whatever the prompt's length.
    """

    __slots__ = ("_known", "block_tokens")

    def __init__(self, *, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._known: dict[int, Known] = {}
        """By the node's id, which is the node's alone while the reference lives."""

    def __len__(self) -> int:
        """Return how many nodes are remembered."""
        return len(self._known)

    def clear(self) -> None:
        """Know nothing any more."""
        self._known.clear()

    def peek(self, prompt: Prompt) -> int:
        """Return how many tokens of the prompt, in whole blocks, are known."""
        node, end = prompt
        while node.start >= end or id(node) not in self._known:
            end = min(end, node.start)
            if node.parent is None:
                return 0
            node = node.parent
        return min(end, self._known[id(node)].reach) // self.block_tokens * self.block_tokens

    def send(self, node: Node, length: int) -> int:
        """Return how many tokens of a prompt, in whole blocks, are known; from now on all of them are."""
        known = self._known
        end = length
        while True:
            start = node.start
            if end > start:
                entry = known.get(id(node))
                if entry is not None:
                    reach = entry.reach
                    if end <= reach:
                        return end // self.block_tokens * self.block_tokens
                    entry.reach = end
                    return reach // self.block_tokens * self.block_tokens
                key = id(node)
                known[key] = Known(end, weakref.ref(node, Forget(known, key)))
                end = start
            if node.parent is None:
                return 0
            node = node.parent

    def known(self, node: Node) -> int:
        """Return up to where a node's own content is known, in tokens; 0 where none of it is."""
        entry = self._known.get(id(node))
        return 0 if entry is None else entry.reach

    def output(self, prompt: Prompt, output_tokens: int) -> None:
        """Credit a reply that continues the prompt's own node, less the last token: it is never computed."""
        self.send(prompt.node, prompt.length + output_tokens - 1)
