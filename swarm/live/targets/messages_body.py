"""Bodies for Anthropic's `/v1/messages`: tools, system prompt, messages, with breakpoints among them.

Content is in blocks, and what is before a breakpoint stays the same blocks with the same text when the
breakpoint moves on. So messages end where replies do, and what has no reply in it is cut at fixed places.
"""

from __future__ import annotations

from typing import Any

from swarm.config.target import CacheControlConfig, CacheTtl, TargetConfig
from swarm.context.opening import opening
from swarm.context.render import Alphabet, Buffer
from swarm.context.tree import Prompt
from swarm.live.targets.body_writer import BodyWriter, named, opening_text
from swarm.live.targets.tools import Tools

BLOCK_BYTES = 8192
"""Of a text block within a message: that long they are whole, and never change again."""
_MARKS: dict[CacheTtl | None, bytes] = {
    None: b"",
    "5m": b',"cache_control":{"type":"ephemeral"}',
    "1h": b',"cache_control":{"type":"ephemeral","ttl":"1h"}',
}
_NEXT_BLOCK = b'{"type":"text","text":"'
_NOWHERE = CacheControlConfig(tools=None, system=None, turns=None)


class MessagesWriter(BodyWriter):
    """The prompt as tools, system prompt and messages."""

    path = "/messages"

    def __init__(self, alphabet: Alphabet, settings: dict[str, Any], config: TargetConfig) -> None:
        super().__init__(alphabet, settings, config)
        self._tools = Tools(
            alphabet,
            config.tool_definition_tokens,
            schema_member="input_schema",
            more={},
            # A list is counted as its tools, one after another.
            between=0,
            around=0,
        )
        control = config.cache_control or _NOWHERE
        self._after_tools = _MARKS[control.tools]
        self._after_system = _MARKS[control.system]
        self._after_turn = _MARKS[control.turns]
        self._marked_turns = 0 if control.turns is None else control.last_turns

    def prompt(self, prompt: Prompt, out: list[Buffer]) -> None:
        """Append the body up to the prompt's end."""
        out.append(b"{")
        tools, system = opening(prompt)
        if system:
            self._open(prompt, tools, system, out)
        messages = list(self._alphabet.segments(prompt, system))
        if not system and (name := named(messages)) is not None:
            out += (b'"system":[', _NEXT_BLOCK, name, b'"}],')
        out.append(b'"messages":[')
        self._write(messages, out)
        out.append(b"]")

    def _open(self, prompt: Prompt, tools: int, system: int, out: list[Buffer]) -> None:
        """Append tools and system prompt."""
        path = prompt.path()
        declared = self._tools.of(path[0].node, tools)
        if declared:
            # The mark belongs into the last tool, before the brace that ends it.
            out += (b'"tools":[', declared[:-1], self._after_tools, b"}],")
        text = opening_text(self._alphabet, path, tools if declared else 0, system)
        if text:
            out += (b'"system":[', _NEXT_BLOCK, *text, b'"', self._after_system, b"}],")

    def _write(self, messages: list[tuple[bool, list[Buffer]]], out: list[Buffer]) -> None:
        last = len(messages) - 1
        # A prompt may end with a reply, which the model is to go on with: it ends a turn all the same.
        ends = [place for place, (replied, _) in enumerate(messages) if not replied or place == last]
        marked = set(ends[max(0, len(ends) - self._marked_turns) :])
        # Where there are too few messages the last whole block stands in for one.
        spare = self._marked_turns - len(marked)
        for place, (replied, buffers) in enumerate(messages):
            if place:
                out.append(b",")
            mark = self._after_turn if place in marked else b""
            if replied:
                out += (b'{"role":"assistant","content":[', _NEXT_BLOCK, *buffers, b'"', mark, b"}]}")
                continue
            out.append(b'{"role":"user","content":[')
            self._blocks(buffers, mark, self._after_turn if place == last and spare > 0 else b"", out)
            out.append(b"]}")

    def _blocks(self, buffers: list[Buffer], mark: bytes, mark_before: bytes, out: list[Buffer]) -> None:
        """Append text in blocks of one size; `mark` goes into the last, `mark_before` into that before it."""
        size = sum(map(len, buffers))
        whole = max(0, size - 1) // BLOCK_BYTES
        room, ended = BLOCK_BYTES, 0
        out.append(_NEXT_BLOCK)
        for buffer in buffers:
            at = 0
            while ended < whole and len(buffer) - at >= room:
                ended += 1
                out += (
                    buffer[at : at + room],
                    b'"',
                    mark_before if ended == whole else b"",
                    b"},",
                    _NEXT_BLOCK,
                )
                at, room = at + room, BLOCK_BYTES
            if at < len(buffer):
                out.append(buffer[at:] if at else buffer)
                room -= len(buffer) - at
        out += (b'"', mark, b"}")
