"""Request bodies as joined slices, by API."""

from __future__ import annotations

from typing import Any

from swarm.config.target import Api, TargetConfig
from swarm.context.render import Alphabet, Buffer, id_alphabet, text_alphabet, word_alphabet
from swarm.context.tree import Prompt
from swarm.live.targets.body_writer import BodyWriter
from swarm.live.targets.messages_body import MessagesWriter
from swarm.live.targets.responses_body import ResponsesWriter
from swarm.live.targets.tokenizer import exact_text, single_tokens

BYTES_PER_TOKEN = 4.0
"""Where nothing else is known: that of the usual byte-pair vocabularies for the words that are sent."""


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
    settings: dict[str, Any] = {"model": config.model, "stream": True, **SETTINGS[config.api]}
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
    "messages": MessagesWriter,
    "responses": ResponsesWriter,
}
_WITH_USAGE = {"stream_options": {"include_usage": True}}
SETTINGS: dict[Api, dict[str, Any]] = {
    "chat": _WITH_USAGE,
    "completions": _WITH_USAGE,
    "token_ids": _WITH_USAGE,
    "messages": {},
    # As coding agents send them: each request holds everything, so nothing need be kept.
    "responses": {"store": False},
}
"""What each API is told beside model and stream."""
