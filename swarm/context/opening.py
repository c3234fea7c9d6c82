"""What a prompt opens with: tool definitions, then the system prompt, each in a node of its own.

That follows from the nodes' names alone, so that no later turn and no other branch moves it to another role.
"""

from __future__ import annotations

from typing import NamedTuple

from swarm.context.tree import Node, Prompt

TOOLS, SYSTEM = "tools/", "system/"
"""What the nodes' names begin with."""
PROGRAM = "program/"
"""What those begin with that a program of one's own begins with; the root named `tools` holds tools."""
PROGRAM_TOOLS = f"{PROGRAM}tools/"


class Opening(NamedTuple):
    """Where the tool definitions and the system prompt end, in tokens from the root; 0 without them."""

    tools: int
    system: int


NOTHING = Opening(0, 0)


def tools_node(role: str, tool_tokens: int) -> Node:
    """Return the root that holds the tool definitions of a role."""
    return Node(f"{TOOLS}{role}/{tool_tokens}")


def system_name(role: str, tool_tokens: int, system_tokens: int) -> str:
    """Return what the system prompt of a role is called, behind its tools."""
    return f"{SYSTEM}{role}/{tool_tokens}/{system_tokens}"


def opening(prompt: Prompt) -> Opening:
    """Return how a prompt opens; of one that ends within that, the last token is left for a message."""
    node: Node | None = prompt.node
    reach = prompt.length
    while node is not None and not _is_of_it(node):
        reach = min(reach, node.start)
        node = node.parent
    if node is None:
        return NOTHING
    end = min(reach, prompt.length - 1)
    while node.parent is not None:
        reach = min(reach, node.start)
        node = node.parent
    return Opening(min(reach, end) if node.name.startswith((TOOLS, PROGRAM_TOOLS)) else 0, end)


def _is_of_it(node: Node) -> bool:
    # Nodes of agents have a # in their names, whatever their sessions are called.
    return node.name.startswith((TOOLS, SYSTEM, PROGRAM)) and "#" not in node.name
