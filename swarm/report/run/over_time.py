"""What a run was like over time: latencies, hits, load and tokens, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from swarm.report import palette
from swarm.report.charts import phases, time_axis
from swarm.report.run.frames import long_form
from swarm.report.theme import PLOT_PX, SPAN, TOKENS, log_ticks, span_ticks

Measured = Mapping[str, float]
HEIGHT_PX = 190
SQUASHED = 1.5
"""A warm-up so many times as high as the measured phase is left out of the scale."""
POINTED_MAX = 40
"""Lines of so few points have them marked."""
IDEAL = "ideal: no limits"


def latency_over_time(windows: pd.DataFrame, name: str, title: str, measured: Measured) -> Any:
    """Return p50 and p95 of one latency; each latency has a chart of its own."""
    columns = {f"{name}_p50": "p50", f"{name}_p95": "p95"}
    rows = long_form(windows, columns, value="seconds")
    if rows.empty:
        return None
    top = scale_top(rows, "seconds", measured)
    axis = alt.Axis(labelExpr=SPAN, values=span_ticks(top))
    y = alt.Y("seconds:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, top], nice=False))
    colors = {"p50": palette.OUTPUT, "p95": palette.RUNS[1]}
    return lines(
        rows, y, colors, measured, tip=alt.Tooltip("seconds:Q", title=f"{title} (s)", format=",.4~r")
    )


def scale_top(rows: pd.DataFrame, value: str, measured: Measured) -> float:
    """Return where an axis ends: above all that there is, less a warm-up that would squash the rest."""
    most = float(rows[value].max())
    inside = rows[(rows["at_s"] >= measured["from_s"]) & (rows["at_s"] <= measured["to_s"])][value]
    top = float(inside.max()) if inside.notna().any() and measured["from_s"] else most
    return 1.05 * (top if most > SQUASHED * top > 0 else most) or 1.0


def hit_rate_over_time(windows: pd.DataFrame, measured: Measured) -> Any:
    """Return the observed hit rate and the ideal one."""
    # The ideal is drawn last, and dashed: where both are one, both are seen.
    rows = long_form(windows, {"hit_rate": "observed", "ideal_hit_rate": IDEAL}, value="share")
    if rows.empty:
        return None
    y = alt.Y("share:Q", title="hit rate", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    colors = {"observed": palette.NEW, IDEAL: palette.IDEAL}
    return lines(rows, y, colors, measured, tip=alt.Tooltip("share:Q", title="hit rate", format=".1%"))


def agents_over_time(windows: pd.DataFrame, measured: Measured) -> Any:
    """Return live agents and open requests."""
    columns = {
        "live_orchestrators": "orchestrators alive",
        "live_subagents": "sub-agents alive",
        "open_requests": "open requests",
    }
    rows = long_form(windows, columns, value="count")
    if rows.empty:
        return None
    y = alt.Y("count:Q", title="agents, requests", axis=alt.Axis(labelExpr=TOKENS, tickCount=5))
    colors = dict(zip(columns.values(), (palette.RUNS[0], palette.RUNS[4], palette.NEW), strict=True))
    return lines(
        rows, y, colors, measured, tip=alt.Tooltip("count:Q", title="agents, requests", format=",.1f")
    )


def throughput_over_time(windows: pd.DataFrame, measured: Measured) -> Any:
    """Return prompt and output tokens a second, on a logarithmic axis: they are far apart."""
    columns = {
        "prompt_tokens_per_s": "prompt",
        "computed_tokens_per_s": "computed: not cached",
        "output_tokens_per_s": "output",
    }
    rows = long_form(windows, columns, value="tokens")
    rows = rows[rows["tokens"] > 0] if not rows.empty else rows
    if rows.empty:
        return None
    least, most = float(rows["tokens"].min()), float(rows["tokens"].max())
    scale = alt.Scale(type="log", nice=False, padding=6)
    axis = alt.Axis(labelExpr=TOKENS, values=log_ticks(least, most))
    y = alt.Y("tokens:Q", title="tokens per second", scale=scale, axis=axis)
    colors = dict(zip(columns.values(), (palette.CACHED, palette.NEW, palette.OUTPUT), strict=True))
    return lines(
        rows, y, colors, measured, tip=alt.Tooltip("tokens:Q", title="tokens per second", format=",.0f")
    )


def decoding_over_time(windows: pd.DataFrame, measured: Measured) -> Any:
    """Return the time per output token, and below it output tokens a second."""
    above = latency_over_time(windows, "tpot_s", "time per token", measured)
    rows = long_form(windows, {"output_tokens_per_s": "output"}, value="tokens")
    if above is None or rows.empty:
        return None
    top = scale_top(rows, "tokens", measured)
    axis = alt.Axis(labelExpr=TOKENS, tickCount=4)
    y = alt.Y("tokens:Q", title="output per second", axis=axis, scale=alt.Scale(domain=[0, top]))
    below = lines(
        rows,
        y,
        {"output": palette.OUTPUT},
        measured,
        tip=alt.Tooltip("tokens:Q", title="tokens per second", format=",.1f"),
        height=100,
    )
    return panels(above, below)


def server_over_time(windows: pd.DataFrame, measured: Measured) -> Any:
    """Return what the target's own gauges said: requests that ran and that waited there."""
    columns = {"server_running": "running", "server_waiting": "waiting"}
    rows = long_form(windows, columns, value="count")
    if rows.empty:
        return None
    y = alt.Y("count:Q", title="requests", axis=alt.Axis(labelExpr=TOKENS, tickCount=5))
    colors = dict(zip(columns.values(), (palette.OUTPUT, palette.NEW), strict=True))
    return lines(rows, y, colors, measured, tip=alt.Tooltip("count:Q", title="requests", format=",.1f"))


def panels(*charts: Any) -> Any:
    """Return charts under each other over one time, whose title stands under the last of them."""
    for chart in charts[:-1]:
        _untitle(chart)
    return alt.vconcat(*charts, spacing=18).resolve_scale(x="shared", color="independent")


def _untitle(chart: Any) -> None:
    for part in (chart, *getattr(chart, "layer", ())):
        encoding = getattr(part, "encoding", None)
        axis = getattr(encoding, "x", None)
        if isinstance(axis, alt.X):
            axis["title"] = None


def lines(
    rows: pd.DataFrame,
    y: alt.Y,
    colors: dict[str, str],
    measured: Measured,
    *,
    tip: alt.Tooltip,
    height: int = HEIGHT_PX,
) -> Any:
    """Return one line for each `series` of the rows over `at_s`, the warm-up shaded under them."""
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    per_series = len(rows) / max(1, rows["series"].nunique())
    drawn = (
        alt.Chart(rows)
        .mark_line(clip=True, point={"size": 22} if per_series <= POINTED_MAX else False)
        .encode(
            x=time_axis(),
            y=y,
            color=alt.Color("series:N", scale=scale, legend=alt.Legend(title=None, symbolType="stroke")),
            strokeDash=alt.condition(alt.datum.series == IDEAL, alt.value([4, 7]), alt.value([1, 0])),
            tooltip=["series:N", alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"), tip],
        )
    )
    return alt.layer(*phases(dict(measured)), drawn).properties(width=PLOT_PX, height=height)
