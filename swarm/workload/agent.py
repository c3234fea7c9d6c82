"""An agent's context: the place in the tree that it appends to, and its shared beginnings.

Agents of one source share nodes; agents of two sources share none, whatever the nodes' names.
"""

from __future__ import annotations

from swarm.context.opening import system_name, tools_node
from swarm.context.tree import Node, Prompt
from swarm.workload.effects import Inferred


class Context:
    """Everything an agent would send next; append-only until it is compacted or pulled back."""

    __slots__ = ("_branches_count", "_owner", "tip")

    def __init__(self, owner: str, base: Prompt) -> None:
        self._owner = owner
        self._branches_count = 0
        self.tip = base
        self.branch_at(base)

    @property
    def length(self) -> int:
        """Tokens in the context."""
        return self.tip.length

    def branch_at(self, base: Prompt) -> None:
        """Go on from `base`: what follows it in the context is gone."""
        self.tip = base.branch(f"{self._owner}#{self._branches_count}")
        self._branches_count += 1

    def append(self, tokens: int) -> None:
        """Append planned text."""
        self.tip = self.tip.extend(tokens)

    def append_reply(self, inferred: Inferred, planned_tokens: int) -> None:
        """Append what the model answered; planned text where there is no answer to echo."""
        self.tip = append_reply(self.tip, inferred, planned_tokens)


def append_reply(tip: Prompt, inferred: Inferred, planned_tokens: int) -> Prompt:
    """Return `tip` with the reply after it: the real one where it is known, else planned text."""
    if not inferred.ok:
        return tip.extend(planned_tokens)
    if inferred.reply is None:
        return tip.extend(inferred.output_tokens or planned_tokens)
    end = tip.length + inferred.output_tokens
    if end > tip.length:
        tip.node.echo(tip.length, end, inferred.reply)
    return Prompt(tip.node, end)


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
