"""The base of what writes request bodies: the prompt's buffers between two ready-made pieces of JSON.

The prompt comes first, so that requests that share a prefix of the context tree share their first bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import orjson

from swarm.config.target import TargetConfig
from swarm.context.render import Alphabet, Buffer
from swarm.context.tree import Prompt, Stretch


class BodyWriter(ABC):
    """Writes the bodies of one target."""

    path: str
    """Under the API's root, which is /v1 as a rule."""

    def __init__(self, alphabet: Alphabet, settings: dict[str, Any], config: TargetConfig) -> None:
        self._alphabet = alphabet
        self._overhead_tokens = config.overhead_tokens or 0
        members = orjson.dumps(settings)[1:-1]
        lengths = {config.length_member: b"%(tokens)d"}
        if config.exact_output:
            lengths |= {"min_tokens": b"%(tokens)d", "ignore_eos": b"true"}
        omitted = {config.length_member if name == "max_tokens" else name for name in config.omit}
        output = b"".join(b',"%b":%b' % (k.encode(), v) for k, v in lengths.items() if k not in omitted)
        self._tail = b"," + members.replace(b"%", b"%%") + output + b"}"

    @abstractmethod
    def prompt(self, prompt: Prompt, out: list[Buffer]) -> None:
        """Append the body up to the prompt's end."""

    def write(self, prompt: Prompt, output_tokens: int) -> list[Buffer]:
        """Return the body of a turn; of the prompt as much less as the server adds to it."""
        out: list[Buffer] = []
        if self._overhead_tokens:
            prompt = Prompt(prompt.node, max(1, prompt.length - self._overhead_tokens))
        self.prompt(prompt, out)
        out.append(self._tail % {b"tokens": output_tokens})
        return out


def named(messages: list[tuple[bool, list[Buffer]]]) -> Buffer | None:
    """Take the root's name from the front of messages, where something is left behind it.

    It is all that follows from the root alone where no node of a prompt is a system prompt.
    """
    if not messages or (len(messages) == 1 and len(messages[0][1]) == 1):
        return None
    name, *rest = messages[0][1]
    if rest:
        messages[0] = False, rest
    else:
        del messages[0]
    return name


def opening_text(alphabet: Alphabet, path: list[Stretch], start: int, end: int) -> list[Buffer]:
    """Return what stands between two places before the first message, which holds no reply."""
    if end <= start:
        return []
    node = next(stretch.node for stretch in reversed(path) if stretch.start < end)
    return [buffer for _, buffers in alphabet.segments(Prompt(node, end), start) for buffer in buffers]
