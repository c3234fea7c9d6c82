"""Sentences of a sweep's chart, against curves whose shape is plain to see."""

from __future__ import annotations

import pandas as pd
import pytest

from swarm.config.sweep import EconomicsConfig
from swarm.report.sweep_points import zone
from swarm.report.sweep_shape import alike_until, sentences, shapes

XS = (1, 2, 4, 8)


def rows(**curves: tuple[float, ...]) -> pd.DataFrame:
    made = [
        {"x": x, "series": name, "column": "", "y": y, "low": y, "high": y, "zone": "", "order": 0}
        for name, ys in curves.items()
        for x, y in zip(XS, ys, strict=True)
    ]
    return pd.DataFrame(made)


@pytest.mark.parametrize(
    ("ys", "cliff", "fall"),
    [
        ((1.0, 2.0, 3.0, 4.0), (1, 1), 0.0),
        ((10.0, 10.0, 2.0, 2.0), (2, 4), 0.8),
        ((10.0, 10.0, 5.0, 0.0), (2, 8), 1.0),
        ((10.0, 9.0, 8.0, 7.0), (1, 2), 0.1),
    ],
)
def test_a_cliff_is_the_deepest_fall(ys: tuple[float, ...], cliff: tuple[int, int], fall: float) -> None:
    shape = shapes(rows(a=ys))[0]
    assert (shape.cliff_from, shape.cliff_to, round(shape.fall, 6)) == (*cliff, fall)


@pytest.mark.parametrize(
    ("other", "until"),
    [((10.0, 20.0, 30.0, 10.0), 4), ((5.0, 20.0, 30.0, 40.0), None), ((9.5, 19.0, 29.0, 38.0), 8)],
)
def test_curves_are_alike_until_they_part(other: tuple[float, ...], until: int | None) -> None:
    assert alike_until(rows(a=(10.0, 20.0, 30.0, 40.0), b=other)) == until


def test_the_last_points_are_named_from_the_top() -> None:
    said = sentences(
        rows(low=(1.0, 1.0, 1.0, 1.0), high=(1.0, 1.0, 1.0, 3.0)),
        x_title="agents",
        y_title="tokens/s",
        figure="throughput.output_tokens_per_s",
        shows_zones=False,
    )
    assert said[0].endswith("at agents = 8: high 3 > low 1.")


@pytest.mark.parametrize(("ratio", "expected"), [(0.89, "A"), (0.9, "B"), (1.1, "B"), (1.11, "C")])
def test_zones_lie_about_break_even(ratio: float, expected: str) -> None:
    economics = EconomicsConfig.model_validate({"gpu_hour": 1, "prices": {}})
    assert zone(ratio, economics) == expected
