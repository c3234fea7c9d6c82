"""Routers that weigh scores of each rank, as endpoint pickers do: they know what such a picker knows.

Scores are those of llm-d's router and the Gateway API inference extension, by their names there:
`kv-cache-utilization-scorer`, `queue-scorer`, `active-request-scorer`, `prefix-cache-scorer` over what was
routed (`approx-prefix-cache-producer`), `max-score-picker`. Metrics are as old as a scrape there, of this
moment here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swarm.config.fleet import RouterScoresConfig
from swarm.context.tree import Prompt
from swarm.fleet.rank import Rank
from swarm.fleet.routing.lots import Lots
from swarm.fleet.routing.routed import RoutedPrefixes


class Scored:
    """The highest weighted sum of scores: prefix sent there before, free KV, short queue, few requests."""

    def __init__(self, scores: RouterScoresConfig) -> None:
        self._scores = scores
        self._hbm: dict[int, RoutedPrefixes] = {}
        """By the rank's place: what may lie in its HBM."""
        self._lower: dict[int, RoutedPrefixes] = {}
        """What may lie in the tiers below."""
        self._lots = Lots()

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the rank with the highest sum; equals draw lots."""
        scores = self._scores
        most = scores.prefix_tokens_max
        if most is not None and prompt.length > most:
            prompt = Prompt(prompt.node, most)
        waiting = [len(rank.waiting) for rank in ranks]
        requests = [rank.requests for rank in ranks]
        shortest, longest, most_requests = min(waiting), max(waiting), max(requests)
        best: list[Rank] = []
        highest = -math.inf
        for at, rank in enumerate(ranks):
            score = scores.kv_usage * _free_share(rank)
            score += scores.queue * _least_to_most(waiting[at], shortest, longest)
            score += scores.requests * _least_to_most(requests[at], 0, most_requests)
            score += scores.prefix * _share(_known(self._hbm, rank, 0, 1), prompt)
            if scores.lower_prefix:
                score += scores.lower_prefix * _share(_known(self._lower, rank, 1, None), prompt)
            if score > highest:
                best, highest = [rank], score
            elif score == highest:
                best.append(rank)
        taken = self._lots.one_of(best, session)
        _known(self._hbm, taken, 0, 1).add(prompt)
        if scores.lower_prefix:
            _known(self._lower, taken, 1, None).add(prompt)
        return taken


def _known(known: dict[int, RoutedPrefixes], rank: Rank, first: int, end: int | None) -> RoutedPrefixes:
    """Return what was sent to a rank, as much as its tiers from `first` to before `end` hold."""
    found = known.get(rank.place)
    if found is None:
        size = rank.hierarchy.rules.block_tokens
        blocks = [tier.capacity_blocks for tier in rank.hierarchy.tiers[first:end]]
        capacity = sum(math.inf if count is None else count * size for count in blocks)
        found = known[rank.place] = RoutedPrefixes(capacity)
    return found


def _share(known: RoutedPrefixes, prompt: Prompt) -> float:
    return known.matched(prompt) / prompt.length


def _free_share(rank: Rank) -> float:
    """Return the share of a rank's KV pool that no open request holds."""
    capacity = rank.hierarchy.tiers[0].capacity_blocks
    return 1.0 if capacity is None else rank.hierarchy.room_blocks / capacity


def _least_to_most(count: int, least: int, most: int) -> float:
    """Return 1 for the least, 0 for the most, 1 where all are alike."""
    return 1.0 if most == least else (most - count) / (most - least)
