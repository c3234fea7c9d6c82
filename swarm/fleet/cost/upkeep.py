"""What tiers below HBM cost a rank's steps and requests besides what is loaded from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from swarm.fleet.cost.base import Chunk, Cost, DecodeLine
from swarm.fleet.cost.rank_cost import RankCost
from swarm.fleet.transfers.ways import Upkeep


class KeptUp:
    """Another cost, and more for each step and for each prompt token that it computes and stores."""

    def __init__(self, cost: Cost, upkeep: Upkeep, step_tokens: float) -> None:
        self._cost = cost
        self._step_s = upkeep.step_s
        self._decode_s = upkeep.step_s / step_tokens
        self._token_s = upkeep.token_s

    def step_s(self, chunks: Sequence[Chunk], decode_batch: int, decode_context_tokens: int) -> float:
        """Return the seconds of a step."""
        seconds = self._cost.step_s(chunks, decode_batch, decode_context_tokens)
        if not chunks:
            return seconds + self._decode_s
        return seconds + self._step_s + self._token_s * sum(chunk.tokens for chunk in chunks)

    def decode_line(self, decode_batch: int, decode_context_tokens: int) -> DecodeLine:
        """Return the line that a step without chunks lies on: decoding stores nothing."""
        line = self._cost.decode_line(decode_batch, decode_context_tokens)
        return DecodeLine(line.base_s + self._decode_s, line.slope_s, line.until_tokens)

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds that computing `tokens` more of a prompt adds."""
        return self._cost.prefill_s(start, tokens) + self._token_s * tokens


def with_upkeep(rank: RankCost, upkeep: Upkeep) -> RankCost:
    """Return what a rank costs that keeps up its tiers; the same where that is free."""
    if upkeep.look_up_s:
        rank = replace(rank, entry=rank.entry._replace(seconds=rank.entry.seconds + upkeep.look_up_s))
    if upkeep.step_s or upkeep.token_s:
        rank = replace(rank, cost=KeptUp(rank.cost, upkeep, rank.step_tokens))
    return rank
