"""Declared tools: what a workload plans as tool definitions, as JSON that has as many bytes.

The first tool's name tells its role's tools, and a run's, from all others: no two share a block by accident.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import orjson

from swarm.config.target import TOOL_TOKENS_LEAST
from swarm.context.render import Alphabet
from swarm.context.tree import Node, Prompt

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["path"],
}
_MARK = "\x00"
_KEY = "\x01"


class Tools:
    """Writes the tool definitions of prompts; those of one node are made once.

    `schema_member` and `more` are the API's; `between` and `around` are the bytes by which the API counts a
    list of tools longer than its tools: for each but the first, and once.
    """

    __slots__ = ("_after", "_alphabet", "_around", "_before", "_between", "_made", "_tokens")

    def __init__(
        self,
        alphabet: Alphabet,
        tokens: int,
        *,
        schema_member: str,
        more: dict[str, object],
        between: int,
        around: int,
    ) -> None:
        self._alphabet = alphabet
        self._tokens = tokens
        self._between, self._around = between, around
        # The name comes first: it is what tells one tool, and one run, from the others.
        frame = orjson.dumps({"name": _KEY, **more, "description": _MARK, schema_member: SCHEMA})
        before, self._after = frame.split(orjson.dumps(_MARK)[1:-1])
        self._before = before.replace(b"%", b"%%").replace(orjson.dumps(_KEY)[1:-1], b"%b")
        self._made: WeakKeyDictionary[Node, tuple[int, bytes]] = WeakKeyDictionary()

    def of(self, node: Node, end: int) -> bytes:
        """Return the tools that hold the first `end` tokens of a root, with commas between them.

        Nothing where those are too few for a tool: then they are text.
        """
        if not self._tokens or end < TOOL_TOKENS_LEAST:
            return b""
        made = self._made.get(node)
        if made is None or made[0] != end:
            self._made[node] = made = (end, self._make(node, end))
        return made[1]

    def _make(self, node: Node, end: int) -> bytes:
        text = b"".join(self._alphabet.render(Prompt(node, end)))
        scale = self._alphabet.bytes_per_token
        count = max(1, end // self._tokens)
        found = []
        for place in range(count):
            start = int(place * self._tokens * scale)
            stop = len(text) if place == count - 1 else int((place + 1) * self._tokens * scale)
            name = b"t%016x" % self._alphabet.key_of(node) if place == 0 else b"tool_%d" % place
            before = self._before % name
            spare = len(before) + len(self._after) + (self._between if place else self._around)
            if stop - start < spare:
                return b""
            found.append(before + text[start + spare : stop] + self._after)
        return b",".join(found)
