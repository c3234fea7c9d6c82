"""Quantile sketches beside numpy's percentiles of the same observations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.measure.sketch import Sketch

SHARES = [0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0]
VALUES = st.lists(
    st.floats(0, 1e6, allow_subnormal=False).map(lambda value: round(value, 6)), min_size=1, max_size=200
)
SAMPLES = {
    "lognormal": np.random.default_rng(1).lognormal(-2, 1.5, 20_000),
    "pareto": np.random.default_rng(2).pareto(1.1, 20_000),
    "two far apart": np.concatenate((np.full(900, 0.01), np.full(100, 100.0))),
    "one": np.array([0.25]),
    "zeros": np.zeros(50),
}


def sketch_of(values: np.ndarray | list[float]) -> Sketch:
    sketch = Sketch()
    sketch.add_many(values)
    return sketch


@pytest.mark.parametrize("name", SAMPLES)
def test_quantiles_lie_within_half_a_percent_of_numpys(name: str) -> None:
    expected = np.quantile(SAMPLES[name], SHARES)
    assert sketch_of(SAMPLES[name]).quantiles(SHARES) == pytest.approx(list(expected), rel=0.005)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_mean_is_exact(name: str) -> None:
    assert sketch_of(SAMPLES[name]).mean == pytest.approx(SAMPLES[name].mean(), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(first=VALUES, second=VALUES)
def test_a_merged_sketch_answers_as_one_of_all_values(first: list[float], second: list[float]) -> None:
    merged = sketch_of(first)
    merged.merge(sketch_of(second))
    assert merged.quantiles(SHARES) == sketch_of(first + second).quantiles(SHARES)


@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_a_sketch_comes_back_from_its_bytes(values: list[float]) -> None:
    sketch = sketch_of(values)
    assert Sketch.from_bytes(sketch.to_bytes()).quantiles(SHARES) == sketch.quantiles(SHARES)


@settings(max_examples=60, deadline=None)
@given(values=VALUES)
def test_one_by_one_and_many_at_once_are_the_same(values: list[float]) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    assert sketch.quantiles(SHARES) == sketch_of(values).quantiles(SHARES)


def test_nothing_observed_has_no_quantiles() -> None:
    sketch = sketch_of([np.nan, np.nan])
    assert (sketch.mean, sketch.quantile(0.5), sketch.share_at_most(1.0)) == (None, None, None)


def test_the_share_below_a_bound_is_that_of_the_values() -> None:
    values = SAMPLES["lognormal"]
    assert sketch_of(values).share_at_most(0.2) == pytest.approx((values <= 0.2).mean(), abs=0.005)
