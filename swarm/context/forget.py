"""What is kept of nodes beside their tree, and is forgotten when they die."""

from __future__ import annotations

from typing import Any
from weakref import ref

from swarm.context.tree import Node


class Forget:
    """The callback of a weak reference to a node: drops the entry that is filed under the node's id.

    An id is the node's alone while the reference lives. To look up by it is as fast as a slot of the node.
    """

    __slots__ = ("key", "table")

    def __init__(self, table: dict[int, Any], key: int) -> None:
        self.table = table
        self.key = key

    def __call__(self, reference: ref[Node]) -> None:
        """Drop the entry of a node that has died."""
        self.table.pop(self.key, None)
