"""What a client asks for: a request's JSON, checked, as content and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from swarm.provider.limits import ServerLimits
from swarm.provider.long_parts import Lifted, ids_of, loads, mark
from swarm.provider.refusal import Fault, invalid

Shape = Literal["chat", "completions"]
Json: TypeAlias = dict[str, Any]
Buffer: TypeAlias = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, understood."""

    shape: Shape
    is_ids: bool
    """The content is token ids of 4 bytes each, else UTF-8."""
    content: tuple[Buffer, ...]
    """Parts that are joined once, with the reply behind them."""
    content_bytes: int
    output_tokens: int
    ends_itself: bool
    """The client named no length, so that the reply's end is the model's."""
    model: str
    streams: bool
    with_usage: bool
    """A stream ends with an event that holds the usage."""
    with_ids: bool
    """The reply's token ids go along (`return_token_ids`)."""


def read_chat(body: bytes, limits: ServerLimits) -> Ask:
    """Return what a body for `/v1/chat/completions` asks for; raises `Fault`."""
    request, lifted = _object(body)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: a list of at least one message is expected", "messages")
    parts: list[Buffer] = []
    if request.get("tools"):
        parts.append(_dumps(request["tools"], lifted))
    for place, message in enumerate(messages):
        _message(place, message, lifted, parts)
    names = ("max_completion_tokens", "max_tokens")
    return _ask(request, "chat", False, parts, names, limits)


def read_completions(body: bytes, limits: ServerLimits) -> Ask:
    """Return what a body for `/v1/completions` asks for; raises `Fault`."""
    request, lifted = _object(body)
    prompt = request.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    is_ids = isinstance(prompt, list)
    if isinstance(prompt, str):
        is_ids = any(value.is_ids and prompt == mark(place) for place, value in enumerate(lifted))
        content = _text(prompt, "prompt", lifted)
    elif isinstance(prompt, list):
        content = _ids(prompt)
    else:
        raise invalid("prompt: a string or a list of token ids is expected", "prompt")
    return _ask(request, "completions", is_ids, [content], ("max_tokens",), limits)


READERS: dict[bytes, Callable[[bytes, ServerLimits], Ask]] = {
    b"/v1/chat/completions": read_chat,
    b"/v1/completions": read_completions,
}


def _object(body: bytes) -> tuple[Json, list[Lifted]]:
    try:
        request, lifted = loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON: {error}"[:300]) from None
    if not isinstance(request, dict):
        raise invalid("the body is not a JSON object")
    return request, lifted


def _ask(
    request: Json,
    shape: Shape,
    is_ids: bool,
    content: list[Buffer],
    names: tuple[str, ...],
    limits: ServerLimits,
) -> Ask:
    content_bytes = sum(map(len, content))
    if not content_bytes:
        raise invalid("an empty prompt", "messages" if shape == "chat" else "prompt")
    if _count(request, "n", 1, 1) not in (None, 1) or _count(request, "best_of", 1, 1) not in (None, 1):
        raise invalid("n and best_of: one reply is given to each request", "n")
    asked = next((count for name in names if (count := _count(request, name, 1, 2**31)) is not None), None)
    least = _count(request, "min_tokens", 0, 2**31) or 0
    tokens = max(limits.output_tokens_default, least) if asked is None else asked
    if least > tokens:
        raise invalid(f"min_tokens is {least}, and max_tokens {tokens}", "min_tokens")
    if tokens > limits.output_tokens_max:
        raise invalid(f"{names[0]}: at most {limits.output_tokens_max} are given, got {tokens}", names[0])
    options = request.get("stream_options") or {}
    if not isinstance(options, dict):
        raise invalid("stream_options: an object is expected", "stream_options")
    model = request.get("model", "")
    if not isinstance(model, str):
        raise invalid("model: a string is expected", "model")
    return Ask(
        shape=shape,
        is_ids=is_ids,
        content=tuple(content),
        content_bytes=content_bytes,
        output_tokens=tokens,
        ends_itself=asked is None,
        model=model[:MODEL_CHARACTERS_MAX],
        streams=_flag(request, "stream"),
        with_usage=_flag(options, "include_usage"),
        with_ids=is_ids and _flag(request, "return_token_ids"),
    )


MODEL_CHARACTERS_MAX = 256


def _count(request: Json, name: str, least: int, most: int) -> int | None:
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise invalid(f"{name}: a whole number from {least} to {most} is expected", name)
    return value


def _flag(request: Json, name: str) -> bool:
    value = request.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid(f"{name}: true or false is expected", name)
    return value


def _message(place: int, message: object, lifted: list[Lifted], out: list[Buffer]) -> None:
    """Append a message's content, then its tool calls as JSON; a role is no content."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise invalid(f"messages[{place}]: an object with a role is expected", "messages")
    content = message.get("content")
    if isinstance(content, str):
        out.append(_text(content, "messages", lifted))
    elif isinstance(content, list):
        for part in content:
            if not isinstance(part, dict):
                raise _no_content(place)
            text = part.get("text")
            out.append(_text(text, "messages", lifted) if isinstance(text, str) else _dumps(part, lifted))
    elif content is not None:
        raise _no_content(place)
    if message.get("tool_calls"):
        out.append(_dumps(message["tool_calls"], lifted))


def _no_content(place: int) -> Fault:
    return invalid(f"messages[{place}].content: a string or a list of parts is expected", "messages")


def _text(text: str, param: str, lifted: list[Lifted]) -> Buffer:
    """Return a string's content, which may have been lifted out of the body."""
    if lifted and text[:1] == "\x00":
        return lifted[int(text[1:])].content
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(f"{param}: half of a surrogate pair", param) from None


def _dumps(value: object, lifted: list[Lifted]) -> bytes:
    """Return a value as JSON, with what was lifted out of it."""
    data = orjson.dumps(value)
    for place, each in enumerate(lifted):
        data = data.replace(orjson.dumps(mark(place)), b"".join((b'"', each.content, b'"')))
    return data


def _ids(ids: list[Any]) -> bytes:
    try:
        return ids_of(ids)
    except (TypeError, OverflowError):
        raise invalid(f"prompt: token ids are whole numbers from 0 to {2**32 - 1}", "prompt") from None
