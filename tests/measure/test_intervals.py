"""Intervals cover what they say they cover, where sessions' requests are alike."""

import math

import numpy as np
import pytest

from swarm.measure.intervals import (
    Estimate,
    Groups,
    difference,
    quantile,
    ratio,
    stretches,
    t_quantile,
    total,
)
from swarm.streams import stream

TABLE = {(0.95, 4): 2.776, (0.95, 9): 2.262, (0.95, 30): 2.042, (0.99, 9): 3.250, (0.995, 29): 3.038}
"""Student's t from printed tables."""


@pytest.mark.parametrize(("case", "expected"), TABLE.items())
def test_quantiles_of_student(case: tuple[float, int], expected: float) -> None:
    assert t_quantile(*case) == pytest.approx(expected, rel=0.01)


def sample(seed: int, count: int = 60, batches: int = 20) -> tuple[np.ndarray, Groups]:
    """Return lognormal latencies that sessions and times have in common, and the groups of each."""
    chance = stream(seed, "intervals", "")
    sizes = chance.integers(5, 60, count)
    sessions = np.repeat(np.arange(count), sizes)
    times = chance.integers(0, batches, len(sessions))
    levels = chance.normal(0.0, 0.5, count)[sessions] + chance.normal(0.0, 0.3, batches)[times]
    return np.exp(levels + chance.normal(0.0, 0.4, len(levels))), Groups(sessions, times)


def test_means_and_quantiles_cover_the_truth_as_often_as_they_say() -> None:
    # log x is normal with variance 0.5: its median is 1, its mean exp(0.25).
    tail = math.exp(math.sqrt(0.5) * 1.6448536)
    covered = np.zeros(3)
    runs = 400
    for seed in range(runs):
        values, groups = sample(seed)
        mean = ratio(values, np.ones_like(values), groups, confidence=0.95)
        middle = quantile(values, 0.5, groups, confidence=0.95)
        end = quantile(values, 0.95, groups, confidence=0.95)
        truths = ((mean, math.exp(0.25)), (middle, 1.0), (end, tail))
        covered += [found.low <= truth <= found.high for found, truth in truths]
    # Four standard deviations of a binomial around 95 %, and the skew's usual loss of a point or two.
    assert (covered / runs > 0.95 - 4 * math.sqrt(0.95 * 0.05 / runs) - 0.02).all()


def test_an_interval_of_independent_rows_is_about_the_textbooks() -> None:
    values = stream(1, "intervals", "").normal(10.0, 2.0, 4000)
    groups = Groups(np.arange(4000), np.arange(4000) % 20)
    found = ratio(values, np.ones(4000), groups, confidence=0.95)
    reach = 1.96 * values.std(ddof=1) / math.sqrt(4000)
    assert reach * 0.7 < found.high - found.value < reach * 1.7


def groups_of(sessions: np.ndarray, times: np.ndarray | None = None) -> Groups:
    return Groups(sessions, np.arange(len(sessions)) % 20 if times is None else times)


def test_too_few_sessions_tell_nothing() -> None:
    found = quantile(np.arange(1000.0), 0.5, groups_of(np.arange(1000) % 4), confidence=0.95)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_nothing_observed_is_nan() -> None:
    nothing = np.array([], dtype=np.intp)
    assert math.isnan(quantile(np.array([]), 0.5, Groups(nothing, nothing), confidence=0.95).value)


def test_a_difference_of_symmetric_intervals_adds_their_squares() -> None:
    assert difference(Estimate(10.0, 7.0, 13.0), Estimate(20.0, 16.0, 24.0)) == Estimate(10.0, 5.0, 15.0)


def test_a_total_of_equal_parts_has_no_spread() -> None:
    groups = groups_of(np.arange(200) % 10, np.arange(200) // 10)
    found = total(np.full(200, 0.5), groups, confidence=0.95)
    assert (found.low, found.value, found.high) == pytest.approx((100.0, 100.0, 100.0))


def test_stretches_are_of_equal_length_and_numbered_without_gaps() -> None:
    at_s = np.array([0.0, 9.9, 10.0, 99.9, 100.0])
    assert stretches(at_s, from_s=0.0, to_s=100.0).tolist() == [0, 0, 1, 2, 2]
