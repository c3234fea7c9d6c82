"""Which candidate each place gets."""

import numpy as np
import pytest

from swarm.config.read import read_profile
from swarm.workload.profile.balance import CHECK_EVERY, Yardstick, choose
from swarm.workload.profile.turns import Floats

from .test_fit import SHIPPED


def off(sums: Floats, chosen: tuple[int, ...], yardstick: Yardstick) -> float:
    """Return how far the first 8, 16, ... of what was chosen are off in all."""
    total = np.cumsum(sums[np.arange(len(sums)), chosen], axis=0)
    counts = range(CHECK_EVERY, len(sums) + 1, CHECK_EVERY)
    return sum(np.sqrt(n) * yardstick.distances(total[n - 1 : n], n)[0] for n in counts)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_choice_for_one_place_is_closer(seed: int) -> None:
    balance = read_profile(SHIPPED).balance
    assert balance is not None
    yardstick = Yardstick(balance)
    targets = np.array(balance.targets)
    sums = targets * np.random.default_rng(seed).lognormal(sigma=0.5, size=(16, 3, len(targets)))
    chosen = choose(sums, yardstick)
    found = off(sums, chosen, yardstick)
    others = [
        off(sums, (*chosen[:place], other, *chosen[place + 1 :]), yardstick)
        for place in range(16)
        for other in range(3)
    ]
    assert min(others) == pytest.approx(found)
    greedy = [0] * 16
    for place in range(16):
        total = sums[np.arange(place), greedy[:place]].sum(axis=0) + sums[place]
        greedy[place] = int(np.argmin(yardstick.distances(total, place + 1)))
    assert found <= off(sums, tuple(greedy), yardstick)
