"""An agent's context: the place in the tree that it appends to, and its shared beginnings.

Agents of one source share nodes; agents of two sources share none, whatever the nodes' names.
"""

from __future__ import annotations

from swarm.context.opening import system_name, tools_node
from swarm.context.tree import Node, Prompt
from swarm.workload.effects import Inferred


class Context:
    """Everything an agent would send next; append-only until it is compacted or pulled back."""

    __slots__ = ("_branches_count", "_node", "_owner", "length")

    def __init__(self, owner: str, base: Prompt) -> None:
        self._owner = owner
        self._branches_count = 0
        self._node = base.node
        self.length = base.length
        """Tokens in the context."""
        self.branch_at(base)

    @property
    def tip(self) -> Prompt:
        """The context as a prompt."""
        return Prompt(self._node, self.length)

    def branch_at(self, base: Prompt) -> None:
        """Go on from `base`: what follows it in the context is gone."""
        self._node, self.length = base.branch(f"{self._owner}#{self._branches_count}")
        self._branches_count += 1

    def append(self, tokens: int) -> None:
        """Append planned text."""
        self.length += tokens

    def append_reply(self, inferred: Inferred, planned_tokens: int) -> None:
        """Append what the model answered; planned text where there is no answer to echo."""
        self.length = _replied(self._node, self.length, inferred, planned_tokens)


def append_reply(tip: Prompt, inferred: Inferred, planned_tokens: int) -> Prompt:
    """Return `tip` with the reply after it: the real one where it is known, else planned text."""
    return Prompt(tip.node, _replied(tip.node, tip.length, inferred, planned_tokens))


def _replied(node: Node, length: int, inferred: Inferred, planned_tokens: int) -> int:
    """Put a reply after so many tokens of a node; return where it ends."""
    if not inferred.ok:
        return length + planned_tokens
    if inferred.reply is None:
        return length + (inferred.output_tokens or planned_tokens)
    end = length + inferred.output_tokens
    if end > length:
        node.echo(length, end, inferred.reply)
    return end


class SharedNodes:
    """One object per shared name among the agents of a source: caches are keyed by node."""

    __slots__ = ("_nodes", "_prefixes")

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._prefixes: dict[tuple[str, int, int], Prompt] = {}

    def one(self, node: Node) -> Node:
        """Return the source's one object for a node that several agents share."""
        return self._nodes.setdefault(node.name, node)

    def prefix(self, role: str, tool_tokens: int, system_tokens: int) -> Prompt:
        """Return the tool definitions and system prompt that all agents of a role start with."""
        asked = role, tool_tokens, system_tokens
        prefix = self._prefixes.get(asked)
        if prefix is None:
            tools = Prompt(tools_node(role, tool_tokens), tool_tokens)
            system = tools.branch(system_name(role, tool_tokens, system_tokens))
            prefix = Prompt(self.one(system.node), system.length + system_tokens)
            self._prefixes[asked] = prefix
        return prefix

    def __reduce__(self) -> tuple[object, ...]:
        # An agent that is sent to another process shares nodes with those that it runs there.
        return SharedNodes, ()
