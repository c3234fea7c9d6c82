"""What a router remembers of the prompts that it sent to one rank: it sees no cache, only its own picks."""

from __future__ import annotations

from collections import OrderedDict

from swarm.context.tree import Node, Prompt


class RoutedPrefixes:
    """The prefixes sent to one rank, the least recently sent dropped beyond a number of tokens."""

    def __init__(self, capacity_tokens: float) -> None:
        self.tokens = 0
        """Distinct tokens remembered."""
        self._capacity_tokens = capacity_tokens
        self._ends: OrderedDict[Node, int] = OrderedDict()
        """How far each node was sent, in order of the last time."""

    def matched(self, prompt: Prompt) -> int:
        """Return how many tokens of the prompt's beginning were sent before, in tokens."""
        matched = 0
        for stretch in prompt.path():
            end = self._ends.get(stretch.node, 0)
            if end < stretch.end:
                return max(matched, end)
            matched = stretch.end
        return matched

    def add(self, prompt: Prompt) -> None:
        """Remember a prompt; its beginning is dropped after its end."""
        for node, _, end in reversed(prompt.path()):
            known = self._ends.get(node, node.start)
            self.tokens += max(0, end - known)
            self._ends[node] = max(end, known)
            self._ends.move_to_end(node)
        while self.tokens > self._capacity_tokens:
            node, end = self._ends.popitem(last=False)
            self.tokens -= end - node.start
