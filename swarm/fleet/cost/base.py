"""What the fleet asks of a cost model: seconds for a step, and for a run of decode steps at once.

What is made several times a request is a class with slots: compiled, 30 ns instead of a named tuple's 165.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Chunk:
    """A stretch of one prompt that a step computes: `tokens` of them after `start` that are held."""

    __slots__ = ("start", "tokens")

    def __init__(self, start: int, tokens: int) -> None:
        self.start = start
        self.tokens = tokens


class DecodeLine:
    """Seconds of a decode step as a line over the batch's context: base + slope x context tokens.

    It holds while the context is below `until_tokens` (infinite where nothing switches).
    """

    __slots__ = ("base_s", "slope_s", "until_tokens")

    def __init__(self, base_s: float, slope_s: float, until_tokens: float) -> None:
        self.base_s = base_s
        self.slope_s = slope_s
        self.until_tokens = until_tokens

    def at_s(self, context_tokens: float) -> float:
        """Return the seconds of a step over so much context."""
        return self.base_s + self.slope_s * context_tokens


class Entry(NamedTuple):
    """What a request spends before its rank's queue: seconds, and the length of so many decode steps.

    The steps are those of a scheduler that looks for new requests every so often; an idle one looks at once.
    A prompt's tokens are looked at one by one, whether they are cached or not: read, hashed, sent on.
    For `alone` times its seconds and tokens a request has the way to itself, and those behind it wait.
    """

    seconds: float
    steps: float
    token_s: float
    alone: float = 0.0


class Cost(Protocol):
    """Seconds of one rank's steps. Context counts the tokens held before the step, over the whole batch."""

    def step_s(self, chunks: Sequence[Chunk], decode_batch: int, decode_context_tokens: int) -> float:
        """Return the seconds of a step that computes chunks and one token for each of a batch."""

    def decode_line(self, decode_batch: int, decode_context_tokens: int) -> DecodeLine:
        """Return the line that a step without chunks lies on, from this context on."""

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds that computing `tokens` more of a prompt adds, `start` of it being held."""
