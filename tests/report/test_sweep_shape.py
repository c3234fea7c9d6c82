"""Sentences of a sweep's chart, against curves whose shape is plain to see."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from swarm.config.sweep import EconomicsConfig, SweepChartConfig, SweepConfig
from swarm.report.charts import picture, spec_of
from swarm.report.sweep.charts import comparison, turning_points
from swarm.report.sweep.letters import Letter, letters_of
from swarm.report.sweep.points import zone
from swarm.report.sweep.sentences import sentence, zones

XS = (1, 2, 4, 8)


def rows(**curves: tuple[float, ...]) -> pd.DataFrame:
    made = [
        {"x": x, "series": name, "column": "", "y": y, "low": y, "high": y, "zone": "", "order": 0}
        for name, ys in curves.items()
        for x, y in zip(XS, ys, strict=True)
    ]
    return pd.DataFrame(made)


RATE, COST, HITS, LOST = (
    "throughput.output_tokens_per_s", "effective_ttft_s.p95", "cache.hit_rate", "cache.lost_to.ttl",
)  # fmt: skip
FLOOR = "a leaves its floor between agents = 4 and 8, from {} to {}."


def said(figure: str = RATE, **curves: tuple[float, ...]) -> str:
    return sentence(rows(**curves), x_title="agents", figure=figure)


@pytest.mark.parametrize(
    ("ys", "text"),
    [
        ((10.0, 10.0, 2.0, 2.0), "a falls off between agents = 2 and 4, from 10 to 2 (-80%)."),
        ((10.0, 10.0, 5.0, 0.0), "a falls off between agents = 2 and 8, from 10 to 0 (-100%)."),
        ((10.0, 9.0, 8.0, 7.0), "a falls steadily, from 10 to 7."),
        ((100.0, 70.0, 22.0, 1.0), "a falls steadily, from 100 to 1."),
        ((5.0, 10.0, 9.5, 8.4), "a is highest at agents = 2, 10, and falls to 8.4."),
        ((1.0, 9.5, 10.0, 10.0), "a gains little beyond agents = 2, where it has 9.5."),
        ((1.0, 2.0, 3.0, 4.0), "Highest with a at agents = 8: 4."),
        ((4.0, 4.0, 3.9, 3.8), "a stays between 3.8 and 4."),
    ],
)
def test_a_gain_is_told_by_its_cliff_its_peak_or_its_knee(ys: tuple[float, ...], text: str) -> None:
    assert said(a=ys) == text


@pytest.mark.parametrize(
    ("figure", "ys", "text"),
    [
        (COST, (1.0, 1.1, 1.5, 8.0), FLOOR.format("1.5 s", "8 s")),
        (COST, (9.0, 1.0, 1.0, 1.0), "a comes down from 9 s to 1 s by agents = 2."),
        (COST, (1.0, 1.2, 1.1, 1.3), "a stays between 1 s and 1.3 s."),
        (LOST, (0.0, 0.0, 0.04, 0.5), FLOOR.format("4.0 %", "50.0 %")),
        (COST, (1.0, 9.0, 1.0, 9.0), "Lowest with a at agents = 1: 1 s."),
    ],
)  # fmt: skip
def test_a_cost_is_told_by_its_floor(figure: str, ys: tuple[float, ...], text: str) -> None:
    assert said(figure, a=ys) == text


def test_curves_that_coincide_are_told_once() -> None:
    text = said(a=(10.0, 10.0, 2.0, 2.0), b=(10.1, 10.0, 2.0, 2.1))
    assert text == (
        "The curves lie within 10% of each other everywhere; all fall off between agents = 2 and 4, by 80%."
    )


def test_where_it_begins_to_matter_is_said_with_who_is_ahead() -> None:
    text = said(a=(10.0, 20.0, 5.0, 4.0), b=(10.0, 20.0, 30.0, 40.0))
    assert text == (
        "Up to agents = 2 the curves lie within 10% of each other; "
        "a falls off between 2 and 4, from 20 to 5 (-75%); at 8 b has 40, a 4."
    )


def test_curves_that_lie_near_each_other_are_told_by_the_values_of_all() -> None:
    told = said(a=(4.0, 4.0, 4.0, 4.0), b=(3.9, 3.9, 3.8, 3.8))
    assert told == "The curves lie within 10% of each other everywhere; all stay between 3.8 and 4."


def test_a_curve_named_by_a_number_is_quoted() -> None:
    assert said(**{"2": (1.0, 2.0, 3.0, 4.0), "4": (2.0, 4.0, 6.0, 8.0)}) == "At agents = 8 “4” has 8, “2” 4."


def test_curves_that_lie_apart_everywhere_are_not_said_to() -> None:
    assert said(a=(1.0, 2.0, 3.0, 4.0), b=(2.0, 4.0, 6.0, 8.0)) == "At agents = 8 b has 8, a 4."


def test_curves_of_one_shape_share_a_clause() -> None:
    text = said(a=(10.0, 10.0, 2.0, 2.0), b=(20.0, 20.0, 6.0, 6.0))
    assert "a and b fall off between agents = 2 and 4, by 70 to 80%" in text


def test_a_fall_within_the_spread_of_seeds_is_no_cliff() -> None:
    table = rows(a=(10.0, 10.0, 7.0, 7.0))
    table["low"], table["high"] = table["y"] - 2.0, table["y"] + 2.0
    assert "falls off" not in sentence(table, x_title="agents", figure=RATE)


def test_curves_that_are_never_seen_together_are_not_called_alike() -> None:
    apart = rows(a=(1.0, 2.0, 3.0, 4.0), b=(1.0, 2.0, 3.0, 4.0)).iloc[[0, 1, 6, 7]]
    assert "within" not in sentence(apart, x_title="x", figure="duration")


def test_flat_curves_are_told_by_all_their_values() -> None:
    assert said(HITS, a=(0.91, 0.96, 0.97, 0.98), b=(0.895, 0.95, 0.97, 0.97)) == (
        "The curves lie within 10% of each other everywhere; all stay between 89.5 % and 98.0 %."
    )


def test_a_chart_with_zones_and_rings_has_one_legend() -> None:
    table = rows(a=(10.0, 10.0, 2.0, 2.0))
    table["zone"] = "C"
    sweep = SweepConfig.model_validate({"grid": {"load.agents": [1, 2, 4, 8]}})
    drawn = picture(comparison(table, sweep, SweepChartConfig(y=RATE, zones=True)), title="", source="")
    assert re.findall(r"<text[^>]*>([^<]+)</text>", drawn).count("a") == 1


def test_points_too_near_for_a_letter_each_share_a_row_of_letters() -> None:
    table = pd.DataFrame({"x": [1, 1, 1, 1], "y": [10.0, 99.0, 95.0, 100.0], "zone": ["A", "B", "C", "C"]})
    assert letters_of(table, px_per_unit=1.0) == [
        Letter(1, 100.0, "C", -5.0), Letter(1, 100.0, "B", 5.0), Letter(1, 10.0, "A", 0.0)
    ]  # fmt: skip


def test_values_that_are_written_alike_are_equal() -> None:
    assert said(HITS, a=(0.0, 0.0001, 0.0, 0.0)) == "a stays at 0.0 %."
    told = said(HITS, a=(0.5, 0.0, 0.0, 0.0001), b=(0.5, 0.0, 0.0, 0.0))
    assert told.startswith("The curves lie within 10% of each other everywhere; ")


def test_a_column_of_a_chart_is_named() -> None:
    table = rows(all=(10.0, 10.0, 2.0, 2.0))
    table["column"] = "decode"
    assert (
        sentence(table, x_title="x", figure=RATE)
        == "decode: falls off between x = 2 and 4, from 10 to 2 (-80%)."
    )


def test_zones_are_told_by_where_they_lie() -> None:
    table = rows(a=(1.0, 1.0, 1.0, 1.0), b=(1.0, 1.0, 1.0, 1.0))
    table["zone"] = ["A", "B", "C", "C", "C", "C", "C", "C"]
    assert zones(table, "agents") == (
        "By agents: a loses money at 1 and breaks even at 2 and earns at 4, 8; b earns everywhere."
    )


@pytest.mark.parametrize(("ratio", "expected"), [(0.89, "A"), (0.9, "B"), (1.1, "B"), (1.11, "C")])
def test_zones_lie_about_break_even(ratio: float, expected: str) -> None:
    economics = EconomicsConfig.model_validate({"gpu_hour": 1, "prices": {}})
    assert zone(ratio, economics) == expected


@pytest.mark.parametrize("is_log", [True, False])
def test_times_on_a_sweeps_axis_are_whole(is_log: bool) -> None:
    sweep = SweepConfig.model_validate({"grid": {"load.agents": [1, 2, 4, 8]}})
    chart = SweepChartConfig(y=COST, log_y=is_log)
    drawn = comparison(rows(a=(0.02, 3.0, 80.0, 600.0)), sweep, chart)
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", picture(drawn, title="", source=""))
    times = [text for text in texts if re.fullmatch(r"[\d.]+ (ms|s|min|h)", text)]
    assert len(times) >= 4 and not any(re.search(r"\.\d", text) for text in times), times


def test_a_cliff_is_ringed_where_it_begins() -> None:
    assert turning_points(rows(a=(10.0, 10.0, 2.0, 2.0), b=(1.0, 2.0, 3.0, 4.0)), RATE) == [
        {"x": 2, "y": 10.0, "series": "a"}
    ]


@pytest.mark.parametrize(("least", "scale"), [(0.0, None), (1e-12, None), (0.02, "log")])
def test_a_chart_with_a_zero_has_no_axis_by_decades(least: float, scale: str | None) -> None:
    sweep = SweepConfig.model_validate({"grid": {"load.agents": list(XS)}})
    chart = SweepChartConfig(y=COST, log_y=True)
    (line,) = spec_of(comparison(rows(a=(least, 3.0, 80.0, 600.0)), sweep, chart))["layer"][:1]
    assert line["encoding"]["y"]["scale"].get("type") == scale
