"""What the events of one OpenAI stream say, one after the other, put together in the turn's result."""

from __future__ import annotations

from typing import Any

import orjson

from swarm.config.target import FailureClass
from swarm.live.targets.failure import Failure
from swarm.live.targets.reading.complaint import complaint, loads, of_text, words
from swarm.live.targets.reading.finish import FINISHED
from swarm.live.targets.reading.sse import ErrorEvent, UnframedText
from swarm.live.targets.reading.usage import put, take_usage
from swarm.live.targets.turn import TurnResult

BEARERS = {
    "content": "reply",
    "text": "reply",
    "reasoning_content": "aside",
    "reasoning": "aside",
    "reasoning_text": "aside",
    "reasoning_details": "aside",
    "reasoning_summary": "aside",
    "cot_summary": "aside",
    "tool_plan": "aside",
    "think": "aside",
    "thinking": "aside",
    "thinking_content": "aside",
    "thinking_blocks": "aside",
    "thought": "aside",
    "thoughts": "aside",
    "refusal": "aside",
    "tool_calls": "aside",
    "tool_call": "aside",
    "function_call": "aside",
    "custom_tool_call": "aside",
    "audio": "aside",
    "images": "aside",
    "token_ids": "ids",
    "error": "error",
    "usage": "usage",
    "finish_reason": "finish",
}
"""Members of a delta or a choice that say something. Asides are tokens that an agent's next prompt does not
repeat: chat templates drop past reasoning."""

_ORDINARY = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "obfuscation",
        "provider",
        "prompt_token_ids",
        "kv_transfer_params",
        "nvext",
    }
)
"""Members of an event in which nothing else is looked for."""
_SILENT = ("type", "id", "index", "format", "signature", "mime_type", "role", "status", "call_id", "object")
"""Members of a part, or of a call, that are no tokens."""
_ASIDE_PARTS = ("thinking", "reasoning", "redacted_thinking", "refusal", "tool_use", "tool_call")
DEPTH_MAX = 8
"""Of parts within parts that are looked into."""


class EventError(Exception):
    """An event that is not to be read."""

    def __init__(self, kind: FailureClass, detail: str) -> None:
        super().__init__(detail)
        self.kind: FailureClass = kind
        self.detail = detail


class Reading:
    """Reads events that are not known to be like the ones before them."""

    FIELD = b"data: "
    """What ordinary events begin with, up to their JSON."""
    REASON, END = "finish_reason", "a finish_reason"
    """What says why a reply ended, and what a stream without it lacks."""

    __slots__ = (
        "_bears",
        "_result",
        "done",
        "has_spoken",
        "ids",
        "is_aside",
        "is_plain",
        "lacks",
        "member",
        "problem",
        "text",
    )

    def __init__(self, result: TurnResult) -> None:
        self._result = result
        self._bears = False
        self.done = False
        self.has_spoken = False
        """Whether tokens came before the event at hand."""
        self.lacks = ""
        """What must still come before a reply with a reason counts as whole; nothing in most APIs."""
        self.problem: Failure | None = None
        """What ends the attempt."""
        self.text = ""
        """Of the last event: what it adds to the reply."""
        self.ids: tuple[int, ...] = ()
        self.member = ""
        """Of the last event: the last member that bore a text."""
        self.is_plain = False
        """Whether the last event says nothing but this one text, with or without its token ids."""
        self.is_aside = False
        """Whether that text is no part of the reply."""

    def take(self, event: bytes) -> bool:
        """Take an event; return whether it bears a token."""
        if event == b"[DONE]":
            self.done = True
            return False
        self.is_plain = self._bears = False
        self.text, self.ids = "", ()
        try:
            message = orjson.loads(event) if event.__class__ is bytes else _odd(event)
        except orjson.JSONDecodeError:
            if event.strip() == b"[DONE]":
                self.done = True
                return False
            try:
                message = _odd(event)
            except EventError as error:
                self._fail(error.kind, error.detail)
                return False
        except EventError as error:
            self._fail(error.kind, error.detail)
            return False
        try:
            self._read(message)
        except (AttributeError, TypeError, ValueError, KeyError, IndexError, ArithmeticError, RecursionError):
            self._fail("malformed", f"an event of an unknown shape: {_shown(event)}")
        return self._bears

    def _read(self, message: Any) -> None:
        if message is None:
            return
        usage = message.get("usage")
        choices = message.get("choices")
        if usage:
            take_usage(usage, self._result)
        is_ordinary = _ORDINARY.issuperset(message) and message.get("object") != "error"
        if choices:
            self.is_plain = is_ordinary and not usage and len(choices) == 1
            for choice in choices:
                self._take_choice(choice)
        if not is_ordinary:
            self._take_extras(message)
            said = complaint(message, is_reply=bool(choices))
            if said is not None:
                self._fail("stream_error", said)

    def _take_choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if delta is None:
            delta = choice.get("message") or choice
            if delta is not choice and self.has_spoken:
                # Some servers end with the whole reply: nothing of it is new.
                self.is_plain = False
                delta = {}
        elif delta.__class__ is not dict:
            raise ValueError(delta)
        self._take_members(delta)
        if delta is choice:
            return
        reason = choice.get("finish_reason")
        if reason:
            self._finish(reason)
        for name in ("token_ids", "usage", "error"):
            value = choice.get(name)
            if value:
                self._take_other(BEARERS[name], value)

    def _take_members(self, members: dict[str, Any]) -> None:
        for name, value in members.items():
            if not value or (kind := BEARERS.get(name)) is None:
                continue
            if kind == "reply" or kind == "aside":
                self.is_aside = kind == "aside"
                self.member = name
                if value.__class__ is str:
                    if self._bears and not self.ids:
                        self.is_plain = False
                    self._bears = True
                    if kind == "reply":
                        self.text += value
                else:
                    self.is_plain = False
                    if kind == "reply":
                        self.text += _text_of(value)
                    if bears(value, DEPTH_MAX):
                        self._bears = True
            else:
                self._take_other(kind, value)

    def _take_other(self, kind: str, value: Any) -> None:
        if kind == "ids":
            self.ids = tuple(map(int, value))
            self._bears = True
            return
        self.is_plain = False
        if kind == "usage":
            take_usage(value, self._result)
        elif kind == "finish":
            self._finish(value)
        else:
            self._fail("stream_error", words(value))

    def _take_extras(self, message: dict[str, Any]) -> None:
        """Take what single servers put beside the choices."""
        timings = message.get("timings")
        if timings.__class__ is dict:
            put(self._result, None, None, timings.get("cache_n"))
        for place in ("x_groq", "meta_info"):
            extra = message.get(place)
            if extra.__class__ is dict:
                take_usage(extra.get("usage") or extra, self._result)

    def _finish(self, reason: object) -> None:
        self.is_plain = False
        if not isinstance(reason, str):
            raise ValueError(reason)
        self._result.finish_reason = reason
        if reason not in FINISHED and reason.lower() not in FINISHED:
            self._fail("stream_error", f"{self.REASON} {reason!r}: the server gave the reply up")

    def _fail(self, kind: FailureClass, detail: str) -> None:
        self.is_plain = False
        # A server that says what was wrong says more than a reason alone.
        if self.problem is None or self.problem.detail.startswith(self.REASON):
            self.problem = Failure(kind, detail)


def _odd(event: bytes) -> Any:
    """Return an event that is no ordinary JSON, if it is JSON at all; raises EventError."""
    if isinstance(event, ErrorEvent):
        raise EventError("stream_error", _words_of(event))
    if isinstance(event, UnframedText):
        said = of_text(event)
        if said is not None:
            raise EventError("stream_error", said)
        raise EventError("malformed", f"text without the framing of an event stream: {_shown(event)}")
    try:
        return loads(event)
    except ValueError:
        text = _shown(event)
        if event.strip()[:7].lower().lstrip(b"[").startswith(b"error"):
            raise EventError("stream_error", text) from None
        raise EventError("malformed", f"an event that is not JSON: {text}") from None


def _words_of(event: bytes) -> str:
    message = _json(event)
    if isinstance(message, dict | list) and message:
        return words(message["error"] if isinstance(message, dict) and message.get("error") else message)
    return _shown(event)


def _json(event: bytes) -> Any:
    try:
        return loads(bytes(event))
    except ValueError:
        return None


def _shown(event: bytes) -> str:
    return event.decode("utf-8", "replace")


def bears(value: Any, depth: int) -> bool:
    """Whether parts, or calls, hold any text that is not empty."""
    if value.__class__ is str:
        return bool(value)
    if depth <= 0:
        return False
    if value.__class__ is dict:
        return any(bears(each, depth - 1) for name, each in value.items() if name not in _SILENT)
    if value.__class__ is list:
        return any(bears(each, depth - 1) for each in value)
    if value is None or isinstance(value, int | float):
        return False
    raise ValueError(value)


def _text_of(value: Any) -> str:
    """Return the text of content that is a list of parts; what was thought or called is no part of it."""
    if value.__class__ is dict:
        value = [value]
    if value.__class__ is not list:
        raise ValueError(value)
    found = []
    for part in value:
        if part.__class__ is str:
            found.append(part)
        elif part.__class__ is dict and part.get("type") not in _ASIDE_PARTS:
            text = part.get("text")
            if text.__class__ is str:
                found.append(text)
    return "".join(found)
