"""An agent's requests as turns of words: stretches in which its context only grew, filled with text.

For formats that hold what each turn adds. Equal blocks become equal text, as far as a first prompt goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import shake_128

from swarm.workload.formats.blocks import whole_blocks
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses
from swarm.workload.recorded import RecordedRequest, RecordedSession

WRITES = Options(block_tokens=0, rows="", bytes_per_token=4.0)


@dataclass(frozen=True, slots=True)
class Said:
    """What one request adds to its conversation."""

    request: RecordedRequest
    text: str
    wait_s: float | None
    """From the end of the request before; None for an agent's first."""

    @property
    def delay_ms(self) -> float:
        """The wait as such formats write it; 0 where there is none."""
        return round((self.wait_s or 0.0) * 1000, 3)


def stretches(
    session: RecordedSession, name: str, requests: list[RecordedRequest], options: Options, losses: Losses
) -> Iterator[list[Said]]:
    """Yield the turns of each stretch of the life of agent `name`; none of them is empty."""
    turns: list[Said] = []
    previous: RecordedRequest | None = None
    for number, request in enumerate(sorted(requests, key=lambda request: request.t_s)):
        new = request.input_tokens if previous is None else _grown(previous, request, session.block_tokens)
        if new <= 0 and previous is not None:
            losses.note("context that lost something: goes on as another conversation", 1)
            if turns:
                yield turns
            turns, new = [], request.input_tokens
        if new <= 0:
            losses.note("request without input: left out", 1)
            continue
        text = _text(session, name, number, request, new if turns else 0, options)
        turns.append(Said(request, text, None if previous is None else _wait_s(previous, request)))
        previous = request
    if turns:
        yield turns


def _grown(previous: RecordedRequest, request: RecordedRequest, block_tokens: int) -> int:
    """Return how many tokens are new beyond the previous prompt and its reply; 0 if not all are kept."""
    kept = list(whole_blocks(previous, block_tokens))
    if list(request.hash_ids[: len(kept)]) != kept:
        return 0
    return request.input_tokens - previous.input_tokens - previous.output_tokens


def _wait_s(previous: RecordedRequest, request: RecordedRequest) -> float:
    if request.think_s is not None:
        return request.think_s
    return max(0.0, request.t_s - previous.t_s - (previous.api_s or 0.0))


def _text(
    session: RecordedSession, name: str, number: int, request: RecordedRequest, new: int, options: Options
) -> str:
    """Return filler: of `new` tokens, or of a whole first prompt, equal as far as its blocks are."""
    scope = session.namespace if session.shares_ids else f"{session.namespace}|{session.id}"
    texts = []
    size = new
    if not new:
        whole = request.hash_ids[: request.input_tokens // session.block_tokens]
        texts = [_filler(f"{scope}|{each}", session.block_tokens, options) for each in whole]
        size = request.input_tokens - len(whole) * session.block_tokens
    return "".join((*texts, _filler(f"{session.namespace}|{name}|{number}", size, options)))


def _filler(seed: str, tokens: int, options: Options) -> str:
    length = round(tokens * options.bytes_per_token)
    return shake_128(seed.encode(errors="replace")).hexdigest((length + 1) // 2)[:length]
