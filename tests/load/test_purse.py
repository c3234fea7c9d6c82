"""A host's share of a budget is never passed, whatever is in flight."""

from __future__ import annotations

import pytest

from swarm.config.budget import BudgetConfig
from swarm.config.prices import PricesConfig
from swarm.load.purse import COUNT_MARGIN, NOTHING_SPENT, Purse, Spent
from swarm.streams import stream

PRICES = PricesConfig(input_per_mtok=3.0, output_per_mtok=15.0, cache_read_per_mtok=0.3, cache_writes=())


@pytest.mark.parametrize("hosts", [1, 3])
@pytest.mark.parametrize(
    "budget", [BudgetConfig(tokens_max=1_000_000), BudgetConfig(cost_max=2.0, prices=PRICES)]
)
def test_the_sum_over_hosts_stays_within_the_budget(budget: BudgetConfig, hosts: int) -> None:
    chance = stream(1, "purse", "test")
    tokens = cost = 0.0
    for _ in range(hosts):
        purse = Purse(budget, hosts=hosts, before=NOTHING_SPENT)
        open_requests: list[tuple[Spent, int, int]] = []
        while True:
            prompt, output = int(chance.integers(1_000, 90_000)), int(chance.integers(1, 2_000))
            asked = purse.take(prompt, output)
            if asked is None:
                break
            open_requests.append((asked, prompt, output))
            if len(open_requests) > 4:
                asked, prompt, output = open_requests.pop(0)
                counted, cached = int(prompt * COUNT_MARGIN), int(prompt * 0.9)
                purse.settle(asked, prompt_tokens=counted, cached_tokens=cached, output_tokens=output)
        assert purse.is_empty
        # Those in flight take all that they may.
        tokens += purse.spent.tokens
        cost += purse.spent.cost
    assert tokens <= (budget.tokens_max or float("inf"))
    assert cost <= (budget.cost_max or float("inf"))


def test_an_answer_gives_back_what_it_did_not_take() -> None:
    purse = Purse(BudgetConfig(cost_max=1.0, prices=PRICES), hosts=1, before=NOTHING_SPENT)
    asked = purse.take(100_000, 1_000)
    assert asked is not None
    purse.settle(asked, prompt_tokens=100_000, cached_tokens=90_000, output_tokens=500)
    assert purse.spent.cost == pytest.approx((10_000 * 3.0 + 90_000 * 0.3 + 500 * 15.0) / 1e6)
    assert purse.spent.tokens == 100_500


def test_a_server_that_does_not_count_is_taken_to_have_taken_all() -> None:
    purse = Purse(BudgetConfig(tokens_max=1_000), hosts=1, before=Spent(300.0, 0.0))
    asked = purse.take(500, 100)
    assert asked is not None
    purse.settle(asked, prompt_tokens=None, cached_tokens=None, output_tokens=100)
    assert purse.take(100, 0) is None
