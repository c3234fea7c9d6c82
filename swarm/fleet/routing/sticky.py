"""Prompts kept where they were sent before, as llm-d's optimized baseline does it.

By the names there (llm-d/llm-d-router, pkg/epp/framework/plugins): `approx-prefix-cache-producer` says
which share of a prompt was sent to a rank, in blocks of at least 64 tokens. `inflight-load-producer` sums
the tokens that were not, of requests without a first token. `prefix-cache-affinity-filter` keeps the ranks
that know enough of the prompt, unless the best of them is too far behind the best other.
`token-load-scorer` and `max-score-picker` take the fewest such tokens, with the request's own.

It differs from the source in three ways. Prompts are counted in their own tokens, there about four characters
each. What was sent is forgotten by prompts in order of their last use, there block by block. A prompt that is
the whole beginning of a longer one is known in full, there up to its last whole block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swarm.config.fleet import RouterStickyConfig
from swarm.context.tree import Prompt
from swarm.fleet.rank import Rank
from swarm.fleet.routing.lots import Lots
from swarm.fleet.routing.routed import RoutedPrefixes

BLOCK_TOKENS_MIN = 64
"""Blocks of an engine that are smaller are looked at in this size (`minBlockSizeTokens`)."""
LOAD_TOKENS_MAX = 4_194_304
"""Ranks with more tokens than this before them are alike (`queueThresholdTokens`)."""


class Sticky:
    """Of the ranks that were sent most of the prompt, unless far behind, the fewest tokens to compute."""

    def __init__(self, sticky: RouterStickyConfig) -> None:
        self._sticky = sticky
        self._sent: dict[int, RoutedPrefixes] = {}
        """By the rank's place."""
        self._lots = Lots()

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the rank with the fewest prompt tokens to compute, among those that know the prompt."""
        most = self._sticky.prefix_tokens_max
        looked_at = prompt if most is None or prompt.length <= most else Prompt(prompt.node, most)
        known = [self._known(rank) for rank in ranks]
        size = _block_tokens(ranks[0])
        total = -(-looked_at.length // size)
        matched = [_matched_blocks(each, looked_at, size, total) for each in known]
        beyond_tokens = max(0, prompt.length - total * size)
        own_tokens = [(total - blocks) * size + beyond_tokens for blocks in matched]
        places = self._candidates(ranks, matched, total)
        loads = [min(LOAD_TOKENS_MAX, ranks[at].unanswered_tokens + own_tokens[at]) for at in places]
        least = min(loads)
        best = [at for at, load in zip(places, loads, strict=True) if load == least]
        at = self._lots.one_of(best, session)
        known[at].add(looked_at)
        if sender is None:
            ranks[at].queue.announce(own_tokens[at])
        return ranks[at]

    def _candidates(self, ranks: Sequence[Rank], matched: list[int], total: int) -> list[int]:
        """Return the places of the ranks that know enough of the prompt; all, where those are far behind."""
        sticky = self._sticky
        kept = [at for at, blocks in enumerate(matched) if blocks / total >= sticky.prefix_share]
        everywhere = list(range(len(ranks)))
        if not kept or len(kept) == len(ranks):
            return everywhere
        if sticky.behind_tokens_max:
            stay = set(kept)
            others = min(ranks[at].unanswered_tokens for at in everywhere if at not in stay)
            behind = min(ranks[at].unanswered_tokens for at in kept) - others
            if behind > sticky.behind_tokens_max:
                return everywhere
        return kept

    def _known(self, rank: Rank) -> RoutedPrefixes:
        """Return what was sent to a rank: one entry for each block of its HBM, however large an entry is."""
        found = self._sent.get(rank.place)
        if found is None:
            blocks = rank.hierarchy.tiers[0].capacity_blocks
            capacity_tokens = math.inf if blocks is None else float(blocks * _block_tokens(rank))
            found = self._sent[rank.place] = RoutedPrefixes(capacity_tokens)
        return found


def _block_tokens(rank: Rank) -> int:
    return max(BLOCK_TOKENS_MIN, rank.hierarchy.rules.block_tokens)


def _matched_blocks(known: RoutedPrefixes, prompt: Prompt, size: int, total: int) -> int:
    """Return how many blocks of a prompt were sent before; the last, which may be short, with all of it."""
    tokens = known.matched(prompt)
    return total if tokens == prompt.length else tokens // size
