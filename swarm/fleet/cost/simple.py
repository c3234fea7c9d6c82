"""Seconds from stated rates: no model, no GPU, every result a closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from swarm.fleet.cost.base import Chunk, DecodeLine

INFINITE: Final = math.inf
"""A constant of compiled code, where `math.inf` is looked up and unpacked at each use."""


class SimpleCost:
    """A step takes its chunks' tokens over the prefill rate, their attention, and a line over the batch.

    A chunk takes so much more, whatever its length, and for each token of its prompt up to its end; a step of
    chunks alone takes so much more as well.
    """

    def __init__(
        self,
        *,
        prefill_tokens_per_s: float,
        prefill_per_context_token_s: float,
        prefill_chunk_s: float,
        prefill_chunk_per_token_s: float,
        prefill_alone_s: float,
        decode_base_s: float,
        decode_per_sequence_s: float,
        decode_per_context_token_s: float,
    ) -> None:
        self._prefill_tokens_per_s = prefill_tokens_per_s
        self._attention_s = prefill_per_context_token_s
        self._chunk_s = prefill_chunk_s
        self._chunk_token_s = prefill_chunk_per_token_s
        self._alone_s = prefill_alone_s
        self._base_s = decode_base_s
        self._per_sequence_s = decode_per_sequence_s
        self._slope_s = decode_per_context_token_s

    def step_s(self, chunks: Sequence[Chunk], decode_batch: int, decode_context_tokens: int) -> float:
        """Return the seconds of a step."""
        tokens = 0
        for chunk in chunks:
            tokens += chunk.tokens
        seconds = tokens / self._prefill_tokens_per_s
        if self._attention_s:
            for chunk in chunks:
                seconds += self._attention_s * chunk.tokens * (chunk.start + 0.5 * chunk.tokens)
        if self._chunk_s or self._chunk_token_s:
            for chunk in chunks:
                seconds += self._chunk_s + self._chunk_token_s * (chunk.start + chunk.tokens)
        if decode_batch:
            line = self.decode_line(decode_batch, decode_context_tokens)
            seconds += line.at_s(decode_context_tokens)
        elif chunks:
            seconds += self._alone_s
        return seconds

    def decode_line(self, decode_batch: int, decode_context_tokens: int) -> DecodeLine:
        """Return the line that decode steps lie on; it never switches."""
        return DecodeLine(self._base_s + self._per_sequence_s * (decode_batch - 1), self._slope_s, INFINITE)

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds for `tokens` of a prompt after `start`, as one chunk."""
        attention_s = self._attention_s * tokens * (start + 0.5 * tokens)
        chunk_s = self._chunk_s + self._chunk_token_s * (start + tokens)
        return tokens / self._prefill_tokens_per_s + attention_s + chunk_s
