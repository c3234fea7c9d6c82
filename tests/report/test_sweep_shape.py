"""Sentences of a sweep's chart, against curves whose shape is plain to see."""

from __future__ import annotations

import pandas as pd
import pytest

from swarm.config.sweep import EconomicsConfig
from swarm.report.sweep.points import zone
from swarm.report.sweep.shapes import sentences, shapes

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


def said(figure: str = "throughput.output_tokens_per_s", **curves: tuple[float, ...]) -> list[str]:
    return sentences(rows(**curves), x_title="agents", y_title="speed", figure=figure, shows_zones=False)


@pytest.mark.parametrize(
    ("other", "where"),
    [
        ((10.0, 20.0, 30.0, 10.0), "lie within 10% of each other up to agents = 4"),
        ((5.0, 20.0, 30.0, 40.0), "lie within 10% of each other from agents = 2 on"),
        ((10.0, 20.0, 5.0, 40.0), "lie within 10% of each other but at agents = 4"),
        ((10.0, 5.0, 5.0, 40.0), "lie within 10% of each other only at agents = 1, 8"),
        ((5.0, 5.0, 5.0, 40.0), "lie within 10% of each other only at agents = 8"),
        ((5.0, 5.0, 5.0, 5.0), "lie more than 10% apart everywhere"),
        ((9.5, 19.0, 29.0, 38.0), "lie within 10% of each other everywhere"),
    ],
)
def test_where_curves_are_alike_is_said(other: tuple[float, ...], where: str) -> None:
    assert said(a=(10.0, 20.0, 30.0, 40.0), b=other)[0].startswith(f"the 2 curves {where}; ")


def test_curves_that_are_never_seen_together_are_not_called_alike() -> None:
    apart = rows(a=(1.0, 2.0, 3.0, 4.0), b=(1.0, 2.0, 3.0, 4.0)).iloc[[0, 1, 6, 7]]
    told = sentences(apart, x_title="x", y_title="y", figure="duration", shows_zones=False)
    assert told[0].startswith("the 2 curves have no point in common; ")


def test_of_many_curves_the_outer_two_are_held_against_each_other() -> None:
    told = said(a=(1.0, 1.0, 1.0, 1.0), b=(1.0, 1.0, 1.0, 1.0), c=(9.0, 9.0, 9.0, 9.0))
    assert told[0].startswith(
        "the highest and the lowest of the 3 curves lie more than 10% apart everywhere; "
    )


def test_a_curve_that_rises_to_the_end_is_not_said_to_have_no_cliff() -> None:
    assert said(a=(1.0, 2.0, 3.0, 4.0)) == [
        "a: speed is highest, 4, at agents = 8, the last that was tried: it may go on rising."
    ]
    assert said(a=(4.0, 4.0, 3.9, 3.8))[0].endswith("; it has no cliff.")


def test_the_last_points_are_named_from_the_top() -> None:
    told = said(low=(1.0, 1.0, 1.0, 1.0), high=(1.0, 1.0, 1.0, 3.0))
    assert told[0].endswith("at agents = 8: high 3 > low 1.")


def test_values_that_are_written_alike_are_equal() -> None:
    told = said("cache.hit_rate", a=(0.5, 0.0, 0.0, 0.0001), b=(0.5, 0.0, 0.0, 0.0), c=(0.5, 0.0, 0.0, 0.2))
    assert told[0].endswith("at agents = 8: c 20.0 % > a 0.0 % = b 0.0 %.")
    assert said("cache.hit_rate", a=(0.0, 0.0001, 0.0, 0.0)) == ["a: speed is 0.0 % everywhere."]


def test_a_cliff_as_wide_as_the_chart_is_told_by_its_steepest_step() -> None:
    assert said(a=(100.0, 70.0, 22.0, 1.0)) == [
        "a: speed is highest, 100, at agents = 1, and falls throughout to 1, most between 2 and 4, "
        "where it loses 48% of its peak."
    ]
    assert "its cliff lies between 2 and 4" in said(a=(100.0, 100.0, 22.0, 21.0))[0]


@pytest.mark.parametrize(("ratio", "expected"), [(0.89, "A"), (0.9, "B"), (1.1, "B"), (1.11, "C")])
def test_zones_lie_about_break_even(ratio: float, expected: str) -> None:
    economics = EconomicsConfig.model_validate({"gpu_hour": 1, "prices": {}})
    assert zone(ratio, economics) == expected
