"""The profile's pieces against closed forms."""

import numpy as np
import pytest

from swarm.report.fit.comparison import distance
from swarm.workload.profile.balance import _reversed_bits
from swarm.workload.profile.normal import cdf, ppf, scores
from swarm.workload.profile.tables import LEVELS, short, table_of


@pytest.mark.parametrize(("z", "p"), [(0.0, 0.5), (1.96, 0.9750021), (-1.0, 0.1586553)])
def test_the_normal_has_its_known_probabilities(z: float, p: float) -> None:
    assert float(cdf(np.array(z))) == pytest.approx(p, abs=1e-6)
    assert float(ppf(np.array(p))) == pytest.approx(z, abs=1e-4)


def test_scores_of_any_quantity_are_standard_normal() -> None:
    drawn = np.exp(np.random.default_rng(1).standard_normal(4000))
    z = scores(drawn)
    assert float(z.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(z.std()) == pytest.approx(1.0, abs=0.01)


def test_whole_numbers_drawn_from_a_table_and_rounded_occur_as_often_as_seen() -> None:
    seen = np.repeat([3, 4, 5, 9], [400, 300, 200, 100])
    table = table_of(seen)
    drawn = np.rint(np.interp((np.arange(10_000) + 0.5) / 10_000, LEVELS, table))
    assert distance(seen, drawn) < 0.03


def test_tables_do_not_fall() -> None:
    table = table_of(np.random.default_rng(2).lognormal(3.0, 2.0, 500))
    assert list(table) == sorted(table)


@pytest.mark.parametrize(("value", "kept"), [(123456.0, 123500), (0.012345, 0.01234), (-77.0, -77)])
def test_tables_keep_four_digits(value: float, kept: float) -> None:
    assert short(value) == pytest.approx(kept, rel=1e-3)


def test_places_of_a_group_fill_the_unit_interval_evenly() -> None:
    for count in (8, 16, 128):
        assert sorted(_reversed_bits(k) for k in range(count)) == [k / count for k in range(count)]


@pytest.mark.parametrize(
    ("one", "other", "expected"), [([1, 2, 3], [1, 2, 3], 0.0), ([1, 2], [3, 4], 1.0), ([1, 2], [2, 3], 0.5)]
)
def test_the_distance_is_that_of_kolmogorov_and_smirnov(
    one: list[int], other: list[int], expected: float
) -> None:
    assert distance(np.array(one), np.array(other)) == expected
