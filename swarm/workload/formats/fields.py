"""Fields of a JSON object, each checked: what was asked, what was found, and where."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from swarm.errors import TraceError

TOKENS_MAX = 1 << 48
LENGTH_MAX = 1 << 24
"""Of a text that is laid out block by block: a number in a file must not cost hours."""
SESSION_BLOCKS_MAX = 1 << 26
"""Of all requests of one session, each with its whole context: 512 MiB of ids.

A thousand turns of 100,000 tokens hold a tenth of it, in blocks of 16.
"""
TOO_MANY_BLOCKS = (
    f"the session's requests hold over {SESSION_BLOCKS_MAX:,} blocks together, each its whole context: "
    f"{SESSION_BLOCKS_MAX >> 17} MiB of ids; cut the session, or state larger blocks where its format takes "
    "block_tokens"
)
SECONDS_MAX = 1e10
"""Times beyond 317 years are no times; the bound keeps microseconds exact in 64 bits."""


class Fields:
    """Readers of one object's fields. `source` and `place` only serve the error's text."""

    __slots__ = ("place", "source", "values")

    def __init__(self, source: str, place: str, values: Any) -> None:
        self.source = source
        self.place = place
        if type(values) is not dict:
            raise TraceError(source, place, f"must be an object, got {shown(values)}")
        self.values: dict[str, Any] = values

    def broken(self, name: str, reason: str) -> TraceError:
        """Return the error of field `name`."""
        return TraceError(self.source, f"{self.place}: {name}" if name else self.place, reason)

    def count(self, name: str, default: int | None = None) -> int:
        """Return a count of tokens; without a default the field must be there."""
        value = self.values.get(name)
        if type(value) is int and 0 <= value <= TOKENS_MAX:
            return value
        if value is None and default is not None:
            return default
        if type(value) is float and value.is_integer() and 0 <= value <= TOKENS_MAX:
            return int(value)
        raise self.broken(name, f"must be an integer from 0 to {TOKENS_MAX}, got {shown(value)}")

    def length(self, name: str, default: int | None = None) -> int:
        """Return a count of tokens that will be laid out in blocks."""
        value = self.count(name, default)
        if value > LENGTH_MAX:
            raise self.broken(name, f"must be at most {LENGTH_MAX} tokens here, got {value}")
        return value

    def seconds(self, name: str) -> float:
        """Return a time that must be there."""
        value = self.seconds_or_none(name)
        if value is None:
            raise self.broken(name, "is missing; a time in seconds is required")
        return value

    def seconds_or_none(self, name: str, most: float = SECONDS_MAX) -> float | None:
        """Return a time, or None where it is absent or null."""
        value = self.values.get(name)
        if value is None:
            return None
        if (type(value) is float or type(value) is int) and 0 <= value <= most:
            return float(value)
        raise self.broken(name, f"must be a time from 0 to {most:.0e}, got {shown(value)}")

    def in_time(self, name: str, at_s: float) -> float:
        """Return a time that came of adding up, which is bounded as those are that a file states."""
        if at_s <= SECONDS_MAX:
            return at_s
        raise self.broken(name, f"adds up to {at_s:.3g} s, beyond {SECONDS_MAX:.0e}")

    def milliseconds_or_none(self, name: str) -> float | None:
        """Return a time in milliseconds, or None where it is absent or null."""
        return self.seconds_or_none(name, SECONDS_MAX * 1000)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; without a default the field must be there."""
        value = self.values.get(name, default)
        if value is None and default is not None:
            return default
        if type(value) is not str:
            raise self.broken(name, f"must be a string, got {shown(value)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings, empty where absent."""
        values = self.values.get(name)
        if values is None:
            return ()
        if type(values) is not list or not all(type(value) is str for value in values):
            raise self.broken(name, f"must be a list of strings, got {shown(values)}")
        return tuple(values)

    def objects(self, name: str) -> list[Any]:
        """Return a list that must be there; its members are not checked."""
        values = self.values.get(name)
        if type(values) is not list:
            raise self.broken(name, f"must be a list, got {shown(values)}")
        return values

    def ids(self, name: str) -> Sequence[int]:
        """Return block ids as a compact array, empty where absent."""
        values = self.values.get(name)
        if values is None:
            return array("q")
        if type(values) is not list:
            raise self.broken(name, f"must be a list of integers, got {shown(values)}")
        try:
            return array("q", values)
        except TypeError:
            raise self.broken(name, f"must be integers, got {_first_not_int(values)}") from None
        except OverflowError:
            return self._wide_ids(name, values)

    def _wide_ids(self, name: str, values: list[Any]) -> Sequence[int]:
        """Return ids of which some need 64 unsigned bits, as a hash does."""
        try:
            return array("Q", values)
        except (TypeError, OverflowError):
            raise self.broken(name, "must be integers of one kind, signed or unsigned 64 bits") from None


def _first_not_int(values: list[Any]) -> str:
    index = next((index for index, value in enumerate(values) if type(value) is not int), 0)
    return f"{shown(values[index])} at position {index}"


def shown(value: Any) -> str:
    """Return a value as an error shows it: its JSON kind, and itself where it is short."""
    match value:
        case None:
            return "nothing"
        case dict():
            return f"an object of {len(value)} fields"
        case list():
            return f"a list of {len(value)}"
        case _:
            text = repr(value)
            return text if len(text) <= 40 else f"{text[:37]}..."
