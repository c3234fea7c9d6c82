"""Bodies for OpenAI's `/v1/responses`: tools, instructions, input; nothing is kept by the server."""

from __future__ import annotations

from typing import Any

from swarm.config.target import TargetConfig
from swarm.context.opening import opening
from swarm.context.render import Alphabet, Buffer
from swarm.context.tree import Prompt
from swarm.live.targets.body_writer import BodyWriter, named, opening_text
from swarm.live.targets.tools import Tools

_ROLES = {True: b'{"role":"assistant","content":"', False: b'{"role":"user","content":"'}


class ResponsesWriter(BodyWriter):
    """The prompt as tools, instructions and messages."""

    path = "/responses"

    def __init__(self, alphabet: Alphabet, settings: dict[str, Any], config: TargetConfig) -> None:
        super().__init__(alphabet, settings, config)
        self._tools = Tools(
            alphabet,
            config.tool_definition_tokens,
            schema_member="parameters",
            more={"type": "function", "strict": False},
            # A list is counted with its commas and brackets.
            between=1,
            around=2,
        )

    def prompt(self, prompt: Prompt, out: list[Buffer]) -> None:
        """Append the body up to the prompt's end."""
        out.append(b"{")
        tools, system = opening(prompt)
        messages = list(self._alphabet.segments(prompt, system))
        if system:
            path = prompt.path()
            declared = self._tools.of(path[0].node, tools)
            if declared:
                out += (b'"tools":[', declared, b"],")
            text = opening_text(self._alphabet, path, tools if declared else 0, system)
        else:
            name = named(messages)
            text = [] if name is None else [name]
        if text:
            out += (b'"instructions":"', *text, b'",')
        out.append(b'"input":[')
        for place, (replied, buffers) in enumerate(messages):
            if place:
                out.append(b",")
            out += (_ROLES[replied], *buffers, b'"}')
        out.append(b"]")
