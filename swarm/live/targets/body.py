"""Request bodies as joined slices: the prompt's buffers between two ready-made pieces of JSON.

The prompt comes first, so that requests that share a prefix of the context tree share their first bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import orjson

from swarm.config.target import Api, TargetConfig
from swarm.context.render import Alphabet, Buffer, id_alphabet, text_alphabet, word_alphabet
from swarm.context.tree import Prompt
from swarm.live.targets.tokenizer import exact_text, single_tokens

BYTES_PER_TOKEN = 4.0
"""Where nothing else is known: that of the usual byte-pair vocabularies for the words that are sent."""


class BodyWriter(ABC):
    """Writes the bodies of one target."""

    path: str
    """Under the API's root, which is /v1 as a rule."""

    def __init__(self, alphabet: Alphabet, settings: dict[str, Any], config: TargetConfig) -> None:
        self._alphabet = alphabet
        self._overhead_tokens = config.overhead_tokens or 0
        members = orjson.dumps(settings)[1:-1]
        lengths = {config.max_tokens_member: b"%(tokens)d"}
        if config.exact_output:
            lengths |= {"min_tokens": b"%(tokens)d", "ignore_eos": b"true"}
        omitted = {config.max_tokens_member if name == "max_tokens" else name for name in config.omit}
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


class CompletionsWriter(BodyWriter):
    """The prompt as one string."""

    path = "/completions"

    def prompt(self, prompt: Prompt, out: list[Buffer]) -> None:
        """Append the body up to the prompt's end."""
        out.append(b'{"prompt":"')
        out += self._alphabet.render(prompt)
        out.append(b'"')


class TokenIdsWriter(BodyWriter):
    """The prompt as a list of token ids."""

    path = "/completions"

    def prompt(self, prompt: Prompt, out: list[Buffer]) -> None:
        """Append the body up to the prompt's end."""
        out.append(b'{"prompt":[')
        out += self._alphabet.render(prompt)
        if prompt.length:
            # Every id brings its comma along; the last one has none behind it.
            out[-1] = out[-1][:-1]
        out.append(b"]")


class ChatWriter(BodyWriter):
    """The prompt as messages: what the server said is the assistant's, the rest the user's.

    The root's name is the system message, because what may be in it has to follow from the root alone: a
    later turn or another branch must not turn a piece of it into another role.
    """

    path = "/chat/completions"

    def prompt(self, prompt: Prompt, out: list[Buffer]) -> None:
        """Append the body up to the prompt's end."""
        out.append(b'{"messages":[{"role":"system","content":"')
        first = True
        for replied, buffers in self._alphabet.segments(prompt):
            if first:
                out.append(buffers[0])
                buffers = buffers[1:]
                first = False
                if not buffers:
                    continue
            out.append(_ASSISTANT if replied else _USER)
            out += buffers
        out.append(b'"}]')


_ASSISTANT = b'"},{"role":"assistant","content":"'
_USER = b'"},{"role":"user","content":"'


def body_writer(config: TargetConfig, run_id: str | None = None) -> BodyWriter:
    """Return the writer that a target needs; `run_id` enters every root where the cache is to be fresh."""
    nonce = run_id if config.cache == "fresh" else None
    settings: dict[str, Any] = {
        "model": config.model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    settings = {
        name: value for name, value in settings.items() if name not in config.omit
    } | config.extra_body
    if config.api == "token_ids":
        ids = id_alphabet(config.token_id_low, config.token_id_high)
        # Without the ids of a reply it cannot be repeated in the next prompt.
        return TokenIdsWriter(_with(ids, nonce), {**settings, "return_token_ids": True}, config)
    return WRITERS[config.api](_with(_text(config), nonce), settings, config)


def _with(alphabet: Alphabet, nonce: str | None) -> Alphabet:
    return alphabet if nonce is None else alphabet.with_nonce(nonce)


def _text(config: TargetConfig) -> Alphabet:
    if config.tokenizer is not None:
        return word_alphabet(single_tokens(config.tokenizer), exact_text(config.tokenizer))
    return text_alphabet(config.bytes_per_token or BYTES_PER_TOKEN)


WRITERS: dict[Api, type[BodyWriter]] = {
    "chat": ChatWriter,
    "completions": CompletionsWriter,
    "token_ids": TokenIdsWriter,
}
