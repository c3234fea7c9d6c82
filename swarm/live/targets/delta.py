"""One event of an OpenAI stream, decoded as JSON."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import orjson

from swarm.config.target import FailureClass
from swarm.hit_names import LOST_TO, TIERS

TEXT_FIELDS = ("content", "text", "reasoning_content", "reasoning")
"""Where servers put a delta's text; chat and completions, then two names for reasoning."""
REPLY_FIELDS = ("content", "text")
"""What an agent's next prompt repeats of it: chat templates drop past reasoning."""


class EventError(Exception):
    """An event that ends the attempt."""

    def __init__(self, kind: FailureClass, detail: str) -> None:
        super().__init__(detail)
        self.kind: FailureClass = kind
        self.detail = detail


class Delta(NamedTuple):
    """What an event says; None where it says nothing."""

    done: bool = False
    has_content: bool = False
    """Some content, reasoning or tool call that is not empty."""
    mark: bytes | None = None
    """The bytes before the text, up to its opening quote, as this server writes them."""
    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    by_tier: tuple[int, ...] | None = None
    """Cached tokens by memory tier, and lost ones by cause: the emulated provider alone tells them."""
    lost_to: tuple[int, ...] | None = None


DONE = Delta(done=True)


def loads(data: bytes) -> Any:
    """Return decoded JSON; unlike orjson alone, halves of surrogate pairs are let through."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def decode(event: bytes) -> Delta:
    """Return what an event says; raises `EventError`."""
    if event == b"[DONE]":
        return DONE
    try:
        message = loads(event)
    except ValueError:
        raise EventError("malformed", f"an event that is not JSON: {event[:100]!r}") from None
    try:
        if message.get("error"):
            raise EventError("stream_error", f"{message['error']}"[:300])
        return _read(event, message)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError):
        raise EventError("malformed", f"an event of an unknown shape: {event[:100]!r}") from None


def _read(event: bytes, message: dict[str, Any]) -> Delta:
    usage = message.get("usage") or {}
    choices = message.get("choices")
    if not choices:
        return _usage(usage, message)
    choice: dict[str, Any] = choices[0]
    delta: dict[str, Any] = choice.get("delta", choice) or {}
    ids = tuple(choice.get("token_ids") or ())
    fields = [field for field in TEXT_FIELDS if delta.get(field)]
    finish_reason = choice.get("finish_reason")
    return Delta(
        has_content=bool(fields or ids or delta.get("tool_calls")),
        mark=_mark(event, fields[0]) if len(fields) == 1 else None,
        text="".join(delta[field] for field in fields if field in REPLY_FIELDS),
        token_ids=ids,
        finish_reason=None if finish_reason is None else str(finish_reason),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_cached(usage, message),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _usage(usage: dict[str, Any], message: dict[str, Any]) -> Delta:
    """Return what the last event of a stream says, which has no choices."""
    return Delta(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_cached(usage, message),
        output_tokens=_count(usage.get("completion_tokens")),
        by_tier=_counts(usage, "cached_tokens_by_tier", len(TIERS)),
        lost_to=_counts(usage, "lost_tokens_by_cause", len(LOST_TO)),
    )


def _counts(usage: dict[str, Any], name: str, length: int) -> tuple[int, ...] | None:
    found = (usage.get("prompt_tokens_details") or {}).get(name)
    if not found:
        return None
    counts = tuple(map(int, found))
    if len(counts) != length:
        raise ValueError(found)
    return counts


def _cached(usage: dict[str, Any], message: dict[str, Any]) -> int | None:
    """Return the cached prompt tokens in whichever shape a server reports them; None where it does not.

    OpenAI, vLLM, SGLang, TensorRT-LLM: `prompt_tokens_details.cached_tokens`; OpenAI's responses:
    `input_tokens_details`; Moonshot: `cached_tokens`; DeepSeek: `prompt_cache_hit_tokens`; llama.cpp:
    `timings.cache_n`. A details object without the count says nothing, not 0.
    """
    for place in ("prompt_tokens_details", "input_tokens_details"):
        found = (usage.get(place) or {}).get("cached_tokens")
        if found is not None:
            return _count(found)
    for name in ("cached_tokens", "prompt_cache_hit_tokens"):
        if usage.get(name) is not None:
            return _count(usage[name])
    return _count((message.get("timings") or {}).get("cache_n"))


def _mark(event: bytes, field: str) -> bytes | None:
    for mark in (b'"%b":"' % field.encode(), b'"%b": "' % field.encode()):
        if event.count(mark) == 1:
            return mark
    return None


def _count(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(value)
    return value
