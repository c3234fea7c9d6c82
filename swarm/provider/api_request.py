"""What a client asks for, whichever API it speaks: contents, lengths, how the reply is to look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from swarm.provider.content import Content, Json
from swarm.provider.refusal import invalid

COUNT_MAX = 2**31
MODEL_CHARACTERS_MAX = 256
STOPS_MAX = 16
STOP_CHARACTERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Length:
    """How long a reply is to be, in tokens."""

    asked: int | None = None
    """The most that the client names."""
    least: int = 0
    is_exact: bool = True
    """The reply has exactly what is asked for; else that is a bound, and the model ends by itself."""
    is_full: bool = False
    """The client wants every token that it names: nothing but its own words ends the reply early."""
    member: str = "max_tokens"
    """What names it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call."""

    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tools are to be called."""

    kind: Literal["none", "auto", "required"] = "none"
    tools: tuple[Tool, ...] = ()
    """Those that may be."""
    is_single: bool = False
    """One call a reply, no more."""


@dataclass(frozen=True, slots=True)
class Format:
    """What the text of a reply must be: JSON that fits a schema, or one of several texts."""

    schema: Json | None = None
    choices: tuple[str, ...] = ()
    member: str = "response_format"


@dataclass(frozen=True, slots=True)
class EchoedPrompt:
    """A prompt as text."""

    text: str
    tokens: tuple[str, ...]
    """The text of every token."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request, understood."""

    prompts: tuple[Content, ...]
    length: Length
    prompt_member: str = "messages"
    """What holds the prompts."""
    model: str = ""
    salt: str = ""
    """Requests with different salts share no cache."""
    count: int = 1
    """Replies to each prompt."""
    streams: bool = False
    with_usage: bool = False
    """A stream ends with an event that holds the usage."""
    with_progress: bool = False
    """Each event of a stream holds the usage up to it (vLLM's `continuous_usage_stats`)."""
    with_ids: bool = False
    """The reply's token ids go along (`return_token_ids`)."""
    echoed_prompts: tuple[EchoedPrompt, ...] = ()
    """Where replies are to begin with their prompts."""
    logprobs: int | None = None
    """Tokens whose chances are told at each place; None: none are, not even of the token that is there."""
    stops: tuple[str, ...] = ()
    seed: int | None = None
    choice: Choice = Choice()
    format: Format | None = None
    breakpoints: tuple[tuple[int, float], ...] = ()
    """Byte and seconds: up to where, and how long, the client asks to have its prompt kept."""
    echoed: Json = field(default_factory=dict)
    """What the answer repeats of the request."""
    kept_from: tuple[int, int, int] | None = None
    """Parts, marks and bytes before what is kept for later requests to continue; None: nothing is."""

    @property
    def replies(self) -> int:
        """How many replies there are in all."""
        return self.count * len(self.prompts)


class Members:
    """The members of a request's JSON, checked as they are read; `where` stands before their names."""

    __slots__ = ("_members", "_where")

    def __init__(self, members: Json, where: str = "") -> None:
        self._members = members
        self._where = where

    def has(self, name: str) -> bool:
        """Return whether a member is there and not null."""
        return self._members.get(name) is not None

    def count(self, name: str, least: int, most: int = COUNT_MAX) -> int | None:
        """Return a whole number."""
        value = self._members.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most} is expected")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """Return a number."""
        value = self._members.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a number from {least:g} to {most:g} is expected")
        return value

    def flag(self, name: str, unset: bool = False) -> bool:
        """Return a truth value."""
        value = self._members.get(name)
        if value is None:
            return unset
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false is expected")
        return value

    def text(self, name: str, unset: str = "") -> str:
        """Return a string."""
        value = self._members.get(name)
        if value is None:
            return unset
        if not isinstance(value, str):
            raise self._wrong(name, "a string is expected")
        return value

    def named(self, name: str) -> str:
        """Return a string that must be there, and may not be empty."""
        value = self._members.get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "a string that is not empty is expected")
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return a string that must be one of several."""
        value = self._members.get(name)
        if not isinstance(value, str) or value not in allowed:
            shown = value if isinstance(value, str | int | float | None) else type(value).__name__
            supported = ", ".join(f"'{each}'" for each in allowed)
            member = f"{self._where}{name}"
            told = f"Invalid value: {str(shown)[:100]!r} for {member}. Supported values are: {supported}."
            raise invalid(told, member, "invalid_value")
        return value

    def object(self, name: str) -> Json | None:
        """Return an object."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(name, "an object is expected")
        return value

    def list(self, name: str) -> list[Any]:
        """Return a list, empty where there is none."""
        value = self._members.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, "a list is expected")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings that are not empty; one string is a list of it."""
        value = self._members.get(name)
        if value is None:
            return ()
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise self._wrong(name, "a string, or a list of strings, is expected")
        if len(values) > STOPS_MAX or any(len(each) > STOP_CHARACTERS_MAX for each in values):
            raise self._wrong(
                name, f"at most {STOPS_MAX} strings of {STOP_CHARACTERS_MAX} characters are read"
            )
        return tuple(each for each in values if each)

    def sub(self, name: str, value: Json) -> Members:
        """Return the members of an object among them."""
        return Members(value, f"{self._where}{name}.")

    def wrong(self, name: str, expected: str) -> Exception:
        """Return the fault of a member."""
        return self._wrong(name, expected)

    def _wrong(self, name: str, expected: str) -> Exception:
        found = type(self._members.get(name)).__name__
        shown = {"NoneType": "null", "dict": "an object", "list": "a list", "str": "a string"}.get(
            found, found
        )
        return invalid(
            f"{self._where}{name}: {expected}, got {shown}", f"{self._where}{name}", "invalid_type"
        )


def check_sampling(members: Members) -> None:
    """Refuse sampling settings that no sampler takes; the emulated model has no use for the others."""
    members.number("temperature", 0.0, 2.0)
    members.number("top_p", 0.0, 1.0)
    members.number("min_p", 0.0, 1.0)
    members.count("top_k", -1)
    members.number("presence_penalty", -2.0, 2.0)
    members.number("frequency_penalty", -2.0, 2.0)
    members.number("repetition_penalty", 0.0, 100.0)
    members.object("logit_bias")
    members.text("user")


def model_name(members: Members) -> str:
    """Return the model that a request names, or nothing."""
    return members.text("model")[:MODEL_CHARACTERS_MAX]


def length_of(members: Members, names: tuple[str, ...], *, is_exact: bool, least_allowed: int = 1) -> Length:
    """Return the length that the first of several members names."""
    for name in names:
        asked = members.count(name, least_allowed)
        if asked is not None:
            break
    else:
        name, asked = names[0], None
    least = members.count("min_tokens", 0) or 0
    if asked is not None and least > asked:
        raise invalid(f"min_tokens is {least}, and {name} {asked}", "min_tokens")
    is_full = asked is not None and (members.flag("ignore_eos") or least >= asked)
    return Length(asked, least, is_exact or is_full, is_full, name)
