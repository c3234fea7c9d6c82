"""What the fleet asks of a cost model: seconds for a step, and for a run of decode steps at once."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Chunk(NamedTuple):
    """A stretch of one prompt that a step computes: `tokens` of them after `start` that are held."""

    start: int
    tokens: int


class DecodeLine(NamedTuple):
    """Seconds of a decode step as a line over the batch's context: base + slope x context tokens.

    It holds while the context is below `until_tokens` (infinite where nothing switches).
    """

    base_s: float
    slope_s: float
    until_tokens: float


class Entry(NamedTuple):
    """What a request spends before its rank's queue: seconds, and the length of so many decode steps.

    The steps are those of a scheduler that looks for new requests every so often; an idle one looks at once.
    A prompt's tokens are looked at one by one, whether they are cached or not: read, hashed, sent on.
    """

    seconds: float
    steps: float
    token_s: float


class Cost(Protocol):
    """Seconds of one rank's steps. Context counts the tokens held before the step, over the whole batch."""

    def step_s(self, chunks: Sequence[Chunk], decode_batch: int, decode_context_tokens: int) -> float:
        """Return the seconds of a step that computes chunks and one token for each of a batch."""

    def decode_line(self, decode_batch: int, decode_context_tokens: int) -> DecodeLine:
        """Return the line that a step without chunks lies on, from this context on."""

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds that computing `tokens` more of a prompt adds, `start` of it being held."""
