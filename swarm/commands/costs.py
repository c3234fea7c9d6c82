"""What a run on somebody's server will cost, told before it begins; and the bounds that it is given."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from swarm.config.base_url import base_url
from swarm.config.budget import BudgetConfig
from swarm.config.experiment import Experiment
from swarm.config.read import read_prices, validate
from swarm.config.target import TargetConfig
from swarm.errors import UsageError
from swarm.load.sizing import Demand, Size
from swarm.report.numbers import count

CLIMB = 1.7
"""Agents on average, as a multiple of those that a search starts with."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of the command line."""

    config: BudgetConfig | None
    is_unbounded_agreed: bool
    """`--yes`: no bound is wanted."""

    @property
    def is_bounded(self) -> bool:
        """Whether a bound is set."""
        config = self.config
        return config is not None and (config.tokens_max is not None or config.cost_max is not None)


@dataclass(frozen=True, slots=True)
class Spending:
    """Tokens that a run will send and ask for."""

    prompt: float
    new: float
    """Those of prompts that nothing can have cached."""
    output: float


def bounded(tokens_max: int | None, cost_max: float | None, prices: Path | None, *, agreed: bool) -> Budget:
    """Return the bounds that a command line states.

    Raises:
        UsageError: A cost without prices.
    """
    if cost_max is not None and prices is None:
        raise UsageError(f"--cost-max {cost_max:g}: in what? give the price list as well: --prices FILE")
    if tokens_max is None and cost_max is None and prices is None:
        return Budget(None, agreed)
    listed = None if prices is None else read_prices(prices)
    return Budget(BudgetConfig(tokens_max=tokens_max, cost_max=cost_max, prices=listed), agreed)


def check_budget(target: TargetConfig, budget: Budget, command: str) -> None:
    """Refuse a run without a bound on a server that others may bill for.

    Raises:
        UsageError: It is off this machine and its private networks, and nothing bounds what is spent.
    """
    if budget.is_bounded or budget.is_unbounded_agreed:
        return
    public = next((url for url in target.urls if is_public(url)), None)
    if public is not None:
        raise UsageError(
            f"{command}: {public} is not on this machine or a private network, and what is sent there may "
            "cost: bound it with --tokens-max N or --cost-max N --prices FILE, or say --yes"
        )


def with_budget(experiment: Experiment, budget: Budget) -> Experiment:
    """Return the experiment with the bounds of the command line, where that has some.

    Raises:
        UsageError: Its target is public, and nothing bounds what is spent.
        ConfigError: Its hosts cannot hold a budget.
    """
    stated = budget if budget.is_bounded or experiment.load.budget is None else None
    check_budget(
        experiment.target,
        stated or Budget(experiment.load.budget, budget.is_unbounded_agreed),
        "swarm run",
    )
    if budget.config is None:
        return experiment
    load = experiment.load.model_copy(update={"budget": budget.config})
    data = experiment.model_copy(update={"load": load}).model_dump(mode="json")
    return validate(Experiment, data, "swarm run")


def is_public(url: str) -> bool:
    """Return whether a URL's host has an address off loopback and private networks; False where unknown."""
    place = base_url(url)
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # It will be told that no such host is known.
    addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
    return any(not (each.is_private or each.is_loopback or each.is_link_local) for each in addresses)


def expected(demand: Demand, size: Size, time_s: float) -> Spending:
    """Return about what a search will send: it climbs from the agents that it starts with."""
    agents = CLIMB * size.agents_from
    cold = agents * sum(demand.first_tokens) / max(1, len(demand.first_tokens))
    # They come one after the other: the first third of the time has half of them.
    agent_s = agents * time_s * 0.8
    return Spending(
        prompt=demand.prompt_tokens_per_s * agent_s + cold,
        new=demand.new_tokens_per_s * agent_s + cold,
        output=demand.output_tokens_per_s * agent_s,
    )


def told_cost(spending: Spending, budget: Budget) -> list[str]:
    """Return in words what is about to be spent, and what bounds it."""
    lines = [
        f"will send about {count(spending.prompt)} prompt tokens, of which about {count(spending.new)} are "
        f"new, and ask for {count(spending.output)}: more where it carries more agents"
    ]
    config = budget.config
    if config is None:
        return lines
    if config.prices is not None:
        prices = config.prices
        low = (
            prices.cache_read_per_mtok * (spending.prompt - spending.new)
            + prices.input_per_mtok * spending.new
        )
        high = prices.input_per_mtok * spending.prompt
        out = prices.output_per_mtok * spending.output
        lines.append(
            f"which costs about {(low + out) / 1e6:,.2f} where all that can hit does, "
            f"{(high + out) / 1e6:,.2f} where nothing does ({prices.currency})"
        )
    bounds = []
    if config.tokens_max is not None:
        bounds.append(f"{config.tokens_max:,} tokens")
    if config.cost_max is not None:
        bounds.append(f"a cost of {config.cost_max:g}")
    if bounds:
        lines.append(f"ends before {' or '.join(bounds)} is passed")
    return lines
