"""OpenAI's answers as bytes: events of a stream, and whole bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from swarm.fleet.events import CacheUse
from swarm.provider.completion_request import Ask, Json
from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.generated_text import ID_BYTES, Reply

ID_DIGITS = ID_BYTES - 1
_TEXT, _ID = "\x00", 2**53 - 1
"""Stand for a token's text and id while the template of an event is made."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What all answers to one request repeat."""

    answer_id: str
    created: int
    model: str


class Events:
    """The events of one stream, as chunks of HTTP. All events of tokens have one length."""

    __slots__ = ("_ask", "_head", "_reply", "_template")

    def __init__(self, ask: Ask, reply: Reply, identity: Identity) -> None:
        self._ask = ask
        self._reply = reply
        self._head: Json = {
            "id": identity.answer_id,
            "object": "chat.completion.chunk" if ask.shape == "chat" else "text_completion",
            "created": identity.created,
            "model": identity.model,
        }
        self._template = self._made_template()

    def opening(self) -> bytes:
        """Return what comes before the first token."""
        if self._ask.shape != "chat":
            return b""
        delta = {"role": "assistant", "content": ""}
        return _chunk(self._event({"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}))

    def tokens(self, start: int, end: int) -> bytes:
        """Return the events of the tokens [start, end)."""
        if end - start == 1:
            return self._token(start)
        return b"".join([self._token(at) for at in range(start, end)])

    def closing(self, cache: CacheUse, output_tokens: int) -> bytes:
        """Return what follows the last token."""
        ask = self._ask
        last = _chunk(self._event(_choice(ask, "", finish_reason(ask))))
        told = _chunk(self._event(None, usage(cache, output_tokens))) if ask.with_usage else b""
        return last + told + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

    def _token(self, at: int) -> bytes:
        reply = self._reply
        text = reply.text[TOKEN_BYTES * at : TOKEN_BYTES * at + TOKEN_BYTES]
        if self._ask.with_ids:
            return self._template % (text, reply.ids[ID_BYTES * at : ID_BYTES * at + ID_DIGITS])
        return self._template % text

    def _made_template(self) -> bytes:
        choice = _choice(self._ask, _TEXT, None)
        size = TOKEN_BYTES
        if self._ask.with_ids:
            choice["token_ids"] = [_ID]
            size += ID_DIGITS
        event = self._event(choice).replace(b"%", b"%%")
        for mark in (orjson.dumps(_TEXT)[1:-1], b"%d" % _ID):
            event = event.replace(mark, b"%b")
        parts = 2 if self._ask.with_ids else 1
        length = len(event % ((b"",) * parts)) + size
        return b"%x\r\n%b\r\n" % (length, event)

    def _event(self, choice: Json | None, found: Json | None = None) -> bytes:
        message: Json = {**self._head, "choices": [] if choice is None else [choice]}
        if self._ask.with_usage:
            message["usage"] = found
        return b"data: " + orjson.dumps(message) + b"\n\n"


def whole(ask: Ask, reply: Reply, identity: Identity, cache: CacheUse, output_tokens: int) -> bytes:
    """Return the body of an answer that is not streamed."""
    text = reply.text[: TOKEN_BYTES * output_tokens].decode()
    choice: Json = {"index": 0, "logprobs": None, "finish_reason": finish_reason(ask)}
    if ask.shape == "chat":
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    if ask.with_ids:
        choice["token_ids"] = list(map(int, reply.ids[: ID_BYTES * output_tokens - 1].split(b",")))
    return orjson.dumps(
        {
            "id": identity.answer_id,
            "object": "chat.completion" if ask.shape == "chat" else "text_completion",
            "created": identity.created,
            "model": identity.model,
            "choices": [choice],
            "usage": usage(cache, output_tokens),
        }
    )


def usage(cache: CacheUse, output_tokens: int) -> Json:
    """Return the tokens of a request that has ended."""
    return {
        "prompt_tokens": cache.prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": cache.prompt_tokens + output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": cache.cached_tokens,
            # What no real server tells: hits by tier and losses by cause, in the order of the run folder.
            "cached_tokens_by_tier": cache.by_tier,
            "lost_tokens_by_cause": cache.lost_to,
        },
    }


def finish_reason(ask: Ask) -> str:
    """Return why the reply ends: the model has no end of its own but where the client asks for none."""
    return "stop" if ask.ends_itself else "length"


def _choice(ask: Ask, text: str, reason: str | None) -> dict[str, Any]:
    said: Json = {"text": text}
    if ask.shape == "chat":
        said = {"delta": {"content": text} if text else {}}
    return {"index": 0, **said, "logprobs": None, "finish_reason": reason}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
