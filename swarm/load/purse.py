"""One host's share of a budget: what a request may take is set aside before it is sent, and settled after.

So the sum over hosts never passes the budget, whatever is in flight when it ends.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from swarm.config.budget import BudgetConfig
from swarm.config.prices import PricesConfig

COUNT_MARGIN = 1.05
"""By how much a server may count more tokens in a prompt than were planned."""


class Spent(NamedTuple):
    """Tokens, and their price; what is in flight is in it at its most."""

    tokens: float
    cost: float


NOTHING_SPENT = Spent(0.0, 0.0)


class Purse:
    """What a host may still spend."""

    def __init__(self, config: BudgetConfig, *, hosts: int, before: Spent) -> None:
        """`before` is what the host had spent, or set aside, when it was lost."""
        self._prices = config.prices
        self._tokens_max = math.inf if config.tokens_max is None else config.tokens_max / hosts
        self._cost_max = math.inf if config.cost_max is None else config.cost_max / hosts
        self._tokens, self._cost = before
        self.is_empty = False
        """Whether a request was held back for want of money or tokens."""

    @property
    def spent(self) -> Spent:
        """What is gone, and what is set aside for requests in flight."""
        return Spent(self._tokens, self._cost)

    def take(self, prompt_tokens: int, output_tokens: int) -> Spent | None:
        """Set aside what a request takes at its most; None where it would pass the budget."""
        most = COUNT_MARGIN * prompt_tokens
        asked = Spent(most + output_tokens, most_cost(self._prices, most, output_tokens))
        if self._tokens + asked.tokens > self._tokens_max or self._cost + asked.cost > self._cost_max:
            self.is_empty = True
            return None
        self._tokens += asked.tokens
        self._cost += asked.cost
        return asked

    def settle(
        self, asked: Spent, *, prompt_tokens: int | None, cached_tokens: int | None, output_tokens: int
    ) -> None:
        """Give back what an answered request did not take; where the server does not count, all is gone."""
        if prompt_tokens is None:
            return
        took = prompt_tokens + output_tokens
        self._tokens += took - asked.tokens
        if cached_tokens is not None:
            self._cost += cost(self._prices, prompt_tokens, cached_tokens, output_tokens) - asked.cost


def cost(prices: PricesConfig | None, prompt: float, cached: float, output: float) -> float:
    """Return what a request costs; misses are billed as plain input, or as cache writes if that is more."""
    if prices is None:
        return 0.0
    return (
        _input(prices) * (prompt - cached)
        + prices.cache_read_per_mtok * cached
        + prices.output_per_mtok * output
    ) / 1e6


def most_cost(prices: PricesConfig | None, prompt: float, output: float) -> float:
    """Return what a request costs at most: nothing is hit."""
    return cost(prices, prompt, 0.0, output)


def _input(prices: PricesConfig) -> float:
    shortest = min(prices.cache_writes, key=lambda write: write.ttl_s, default=None)
    return max(prices.input_per_mtok, 0.0 if shortest is None else shortest.per_mtok)
