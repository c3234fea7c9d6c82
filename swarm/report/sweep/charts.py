"""The comparison charts of a sweep: curves over one key of its grid."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from swarm.config.sweep import SweepChartConfig, SweepConfig
from swarm.report import palette
from swarm.report.numbers import LEAST_S
from swarm.report.sweep.letters import letters_of
from swarm.report.sweep.sentences import is_share, shape_of
from swarm.report.sweep.shapes import curves_of
from swarm.report.theme import PLOT_PX, SPAN, TOKENS, log_span_ticks, log_ticks, span_ticks

HEIGHT_PX = 300
COLUMNS_GAP_PX = 60
ZONES_OFFSET_PX = 24
"""From the plot to its legend: the letter of the highest point lies between them."""
ZONE_DY_PX = -15
"""From a point to its letter: clear of the point's ring."""
ZONE_COLORS = {"A": palette.BAD, "B": palette.TIERS["dram"], "C": palette.GOOD}


def titles(sweep: SweepConfig, chart: SweepChartConfig) -> tuple[str, str, str]:
    """Return a chart's title and those of its axes."""
    x_title = chart.x_title or (chart.x or sweep.x_key).replace("_", " ")
    y_title = chart.y_title or chart.y.replace("_", " ").replace(".", ", ")
    return chart.title or f"{y_title} over {x_title}", x_title, y_title


def comparison(rows: pd.DataFrame, sweep: SweepConfig, chart: SweepChartConfig) -> Any:
    """Return the curves, one chart beside the other for each column."""
    columns = list(dict.fromkeys(rows["column"]))
    width = (PLOT_PX - COLUMNS_GAP_PX * (len(columns) - 1)) / len(columns)
    series = list(dict.fromkeys(rows["series"]))
    scale = alt.Scale(
        domain=series, range=[palette.RUNS[at % len(palette.RUNS)] for at in range(len(series))]
    )
    top = float(rows["y"].max()) or 1.0
    parts = [
        _curves(rows[rows["column"] == column], sweep, chart, scale, top).properties(
            width=width, height=HEIGHT_PX, **({"title": column} if column else {})
        )
        for column in columns
    ]
    if len(parts) == 1:
        return parts[0]
    return alt.hconcat(*parts, spacing=COLUMNS_GAP_PX / 2).resolve_scale(y="shared", color="shared")


def _curves(
    rows: pd.DataFrame, sweep: SweepConfig, chart: SweepChartConfig, scale: alt.Scale, top: float
) -> Any:
    _, x_title, y_title = titles(sweep, chart)
    is_number = pd.api.types.is_numeric_dtype(rows["x"])
    x: Any = alt.X(
        "x:Q" if is_number else "x:N",
        title=x_title,
        sort=None,
        scale=_scale(chart.log_x and float(rows["x"].min()) > 0) if is_number else alt.Undefined,
        axis=_x_axis(rows) if is_number else alt.Axis(labelAngle=0),
    )
    y = alt.Y("y:Q", title=y_title, scale=_scale(_is_log(chart, rows), zero=True), axis=_axis(chart, rows))
    legend = alt.Legend(title=None, symbolType="stroke", columns=4)
    if chart.zones:
        legend.offset = ZONES_OFFSET_PX
    color = alt.Color("series:N", scale=scale, legend=legend)
    unit = " (s)" if chart.y.split(".")[0].endswith("_s") else ""
    bounds = {"y": unit}
    if (rows["low"] != rows["high"]).any():
        bounds |= {"low": f"{unit}, lowest", "high": f"{unit}, highest"}
    tips = [
        *([alt.Tooltip("column:N")] if (rows["column"] != "").all() else []),
        alt.Tooltip("series:N"),
        alt.Tooltip("x:Q" if is_number else "x:N", title=x_title),
        *(
            alt.Tooltip(f"{of}:Q", title=f"{y_title}{named}", format=".2%" if is_share(chart.y) else ",.5~r")
            for of, named in bounds.items()
        ),
    ]
    base = alt.Chart(rows).encode(x=x)
    layers = [
        base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q"), y2="high:Q", color=color),
        base.mark_line(point=alt.OverlayMarkDef(size=36)).encode(y=y, color=color, tooltip=tips),
    ]
    if (rows["low"] == rows["high"]).all():
        layers.pop(0)
    if turns := turning_points(rows, chart.y):
        rings = alt.Chart(alt.Data(values=turns)).mark_point(size=190, strokeWidth=2, opacity=1)
        layers.append(rings.encode(x=x, y=y, color=color))
    if chart.zones:
        zones = alt.Scale(domain=list(ZONE_COLORS), range=list(ZONE_COLORS.values()))
        color = alt.Color("zone:N", scale=zones, legend=None)
        letters = [
            alt.Chart(alt.Data(values=[{"x": each.x, "y": each.y, "zone": each.zone}]))
            .mark_text(dx=each.dx_px, dy=ZONE_DY_PX, fontSize=11, fontWeight="bold")
            .encode(x=x, y=y, text="zone:N", color=color)
            for each in letters_of(rows, HEIGHT_PX / top)
        ]
        # The curves' layers are one: a layer with a colour scale of its own draws a legend of its own.
        parts = [alt.layer(*layers), *letters, *_break_even(sweep, chart)]
        return alt.layer(*parts).resolve_scale(color="independent")
    return alt.layer(*layers)


def turning_points(rows: pd.DataFrame, figure: str) -> list[dict[str, Any]]:
    """Return the points of one column at which a curve falls off its cliff, or leaves its floor."""
    return [
        {"x": shape.from_x, "y": shape.from_y, "series": shape.series}
        for shape in (shape_of(curve, figure) for curve in curves_of(rows))
        if shape.kind in ("cliff", "left floor")
    ]


def _break_even(sweep: SweepConfig, chart: SweepChartConfig) -> list[Any]:
    if chart.y != "money.revenue_per_cost" or sweep.economics is None:
        return []
    low, high = sweep.economics.break_even
    band = alt.Chart(alt.Data(values=[{"from": low, "to": high}]))
    return [band.mark_rect(opacity=0.18, color=ZONE_COLORS["B"]).encode(y=alt.Y("from:Q"), y2="to:Q")]


def _scale(is_log: bool, *, zero: bool = False) -> alt.Scale:
    return alt.Scale(type="log", nice=False) if is_log else alt.Scale(zero=zero)


def _is_log(chart: SweepChartConfig, rows: pd.DataFrame) -> bool:
    """Whether a chart is drawn by decades: among them nothing, and a time written as none, has no place."""
    least = LEAST_S if chart.y.split(".")[0].endswith("_s") else 0.0
    return chart.log_y and float(rows["low"].min()) > least


def _x_axis(rows: pd.DataFrame) -> alt.Axis:
    """Label the points themselves: they are few, and the question is at which of them something happens."""
    return alt.Axis(values=sorted({float(x) for x in rows["x"]}), labelExpr=TOKENS, labelOverlap=True)


def _axis(chart: SweepChartConfig, rows: pd.DataFrame) -> alt.Axis:
    least, most = float(rows["low"].min()), float(rows["high"].max())
    is_log = _is_log(chart, rows)
    if is_share(chart.y):
        return alt.Axis(format=".0%")
    if chart.y.split(".")[0].endswith("_s"):
        ticks = log_span_ticks(least, most) if is_log else span_ticks(most)
        return alt.Axis(labelExpr=SPAN, values=ticks, labelOverlap="greedy")
    if is_log:
        return alt.Axis(labelExpr=TOKENS, values=log_ticks(least, most), labelOverlap="greedy")
    return alt.Axis(labelExpr=TOKENS)
