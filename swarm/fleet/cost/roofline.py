"""A roofline over kernels: seconds of a step from a model's shape, operator tables and a GPU's data sheet.

A step reads weights and multiplies with them, whichever takes longer, for the parts that every token uses
and for the experts that its tokens happen to choose; it reads the KV of those who decode and multiplies
pairs of tokens for those who prefill; GPUs of a group exchange activations twice a layer; and each layer,
step, sequence and chunk takes a time of its own that no size makes shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swarm.fleet.cost.base import Chunk, DecodeLine
from swarm.fleet.cost.terms import EVERYWHERE, Terms


class Roofline:
    """Seconds of one rank's steps, from its terms."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._stages = terms.stages
        self._lines: dict[int, tuple[float, float]] = {}
        self._windows = [one for one in terms.attention if one.window < EVERYWHERE]
        self._slope_s = sum(one.held_s for one in terms.attention if one.window == EVERYWHERE)
        self._token_s = (
            terms.weights_token_s + terms.experts_token_s + terms.exchange_token_s + terms.two_shot_token_s
        )
        # A sequence looks at its context once for all tokens that a step checks. It gives as many as are
        # accepted; here it gives one, in as much less time.
        self._checked = terms.checked
        self._given = 1.0 / terms.accepted

    def step_s(self, chunks: Sequence[Chunk], decode_batch: int, decode_context_tokens: int) -> float:
        """Return the seconds of a step."""
        if not chunks:
            line = self.decode_line(decode_batch, decode_context_tokens)
            return line.at_s(decode_context_tokens)
        terms = self._terms
        tokens = decode_batch * self._checked
        seconds = terms.chunk_s * len(chunks)
        for chunk in chunks:
            tokens += chunk.tokens
            seconds += self._pairs_s(chunk.start, chunk.tokens)
        if decode_batch:
            seconds += decode_batch * terms.sequence_s + self._held_s(decode_batch, decode_context_tokens)
        stages = self._stages
        if stages == 1:
            return seconds + terms.step_s + self._tokens_s(tokens)
        # As many parts as stages follow each other through them; the first fills, the last drains them.
        return (2.0 - 1.0 / stages) * (seconds / stages + terms.step_s + self._tokens_s(tokens / stages))

    def decode_line(self, decode_batch: int, decode_context_tokens: int) -> DecodeLine:
        """Return the line that decode steps lie on until a window of the mean sequence is full."""
        known = self._lines.get(decode_batch)
        stages = self._stages
        if known is None:
            terms = self._terms
            part = max(1.0, decode_batch / stages)
            base_s = terms.step_s + self._tokens_s(part)
            if self._checked > 1:
                base_s = terms.step_s + self._tokens_s(part * self._checked) + base_s * terms.draft_share
            base_s = (base_s + part * terms.sequence_s) * self._given
            known = self._lines[decode_batch] = (base_s, self._slope_s * part / decode_batch * self._given)
        if not self._windows:
            return DecodeLine(known[0], known[1], EVERYWHERE)
        base_s, slope_s = known
        until_tokens = EVERYWHERE
        share = slope_s / self._slope_s if self._slope_s else 1.0
        for one in self._windows:
            full = one.window * decode_batch
            if decode_context_tokens >= full:
                base_s += one.held_s * full * share
            else:
                slope_s += one.held_s * share
                until_tokens = min(until_tokens, full)
        return DecodeLine(base_s, slope_s, until_tokens)

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds that `tokens` more add to steps that are long anyway."""
        return tokens * self._token_s + self._pairs_s(start, tokens)

    def _tokens_s(self, tokens: float) -> float:
        """Return the seconds that tokens take in all that is not attention's memory."""
        terms = self._terms
        seconds = terms.exchange_token_s * tokens
        one_shot_s, two_shot_s = (
            terms.one_shot_token_s * tokens,
            terms.two_shot_s + terms.two_shot_token_s * tokens,
        )
        seconds += one_shot_s if one_shot_s < two_shot_s else two_shot_s
        read_s, token_s = terms.weights_read_s, terms.weights_token_s * tokens
        seconds += read_s if read_s > token_s else token_s
        if terms.expert_share:
            # The first token chooses freely; those after it choose partly what others have chosen.
            choosers = 1.0 + (tokens * terms.ranks - 1.0) * terms.expert_spread
            untouched = (1.0 - terms.expert_share) ** choosers
            touched = 1.0 - untouched
            if terms.expert_uneven:
                touched = min(1.0, touched + terms.expert_uneven * math.sqrt(touched * untouched))
            read_s = terms.experts_read_s * touched
            token_s = terms.experts_token_s * tokens + terms.experts_pad_s * touched
            seconds += read_s if read_s > token_s else token_s
        return seconds

    def _pairs_s(self, start: int, tokens: int) -> float:
        """Return the seconds of a chunk's attention: its pairs, or reading what it looks at."""
        seconds = self._terms.prompt_token_s * tokens
        seen = start + 0.5 * tokens
        for one in self._terms.attention:
            back = seen if seen < one.window else one.window
            pair_s = one.near_s if start + tokens <= one.window else one.pair_s
            pairs_s = pair_s * tokens * back
            held_s = one.held_s * back
            seconds += pairs_s if pairs_s > held_s else held_s
        return seconds

    def _held_s(self, decode_batch: int, decode_context_tokens: int) -> float:
        seconds = self._slope_s * decode_context_tokens
        for one in self._windows:
            seconds += one.held_s * min(decode_context_tokens, one.window * decode_batch)
        return seconds
