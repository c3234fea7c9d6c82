"""The charts of one run: what it was like over time, and where its hits came from and went to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from swarm.hit_names import LOST_TO, TIERS
from swarm.report import palette
from swarm.report.charts import phases, time_axis
from swarm.report.run.frames import long_form, over_time, sessions
from swarm.report.run.remarks import is_same_latency
from swarm.report.run.timeline import timeline
from swarm.report.theme import PLOT_PX, SPAN, TOKENS

Summary = Mapping[str, Any]
HEIGHT_PX = 190
SQUASHED = 1.5
"""A warm-up so many times as high as the measured phase is left out of the scale."""
IDEAL = "ideal: no limits"
LOST_COLORS = {
    "block_rounding": "#9aa1ab",
    "in_flight": "#7fb3d5",
    "ttl": "#e0a030",
    "capacity": "#d64545",
    "routing": "#8a5cc2",
    "dropped_write": "#3a9e8f",
    "chosen_recompute": "#4a78c9",
    "unexplained": "#c9b8a6",
}


def run_charts(summary: Summary, session_rows: pd.DataFrame, windows: pd.DataFrame) -> dict[str, Any]:
    """Return the charts that this run has something to show in, by name, in the order of the page."""
    found: dict[str, Any] = {
        "capacity": capacity(summary),
        "losses": losses(summary),
        "tiers": tiers(summary),
    }
    if not session_rows.empty:
        found["session_timeline"] = timeline(session_rows)
    if not windows.empty:
        measured = summary["measured"]
        found["effective_ttft"] = latency_over_time(windows, "effective_ttft_s", "effective TTFT", measured)
        if not is_same_latency(windows):
            found["ttft"] = latency_over_time(windows, "ttft_s", "TTFT on the wire", measured)
        found["hit_rate"] = hit_rate_over_time(windows, measured)
        found["agents"] = agents_over_time(windows, measured)
        found["throughput"] = throughput_over_time(windows, measured)
    return {name: chart for name, chart in found.items() if chart is not None}


def latency_over_time(windows: pd.DataFrame, name: str, title: str, measured: dict[str, float]) -> Any:
    """Return p50 and p95 of one latency; each latency has a chart of its own."""
    columns = {f"{name}_p50": "p50", f"{name}_p95": "p95"}
    rows = long_form(windows, columns, value="seconds")
    if rows.empty:
        return None
    scale = (
        alt.Scale(zero=True, domainMax=top)
        if (top := _measured_top(rows, measured))
        else alt.Scale(zero=True)
    )
    y = alt.Y("seconds:Q", title=title, axis=alt.Axis(labelExpr=SPAN), scale=scale)
    colors = {"p50": palette.OUTPUT, "p95": palette.RUNS[1]}
    return _lines(rows, y, colors, measured, tip=alt.Tooltip("seconds:Q", title="s", format=".4~g"))


def _measured_top(rows: pd.DataFrame, measured: dict[str, float]) -> float | None:
    """Return where the axis ends, if the warm-up would squash it: at the highest that was measured."""
    inside = rows[(rows["at_s"] >= measured["from_s"]) & (rows["at_s"] <= measured["to_s"])]["seconds"]
    if not inside.notna().any() or not measured["from_s"]:
        return None
    top = float(inside.max())
    return 1.05 * top if float(rows["seconds"].max()) > SQUASHED * top > 0 else None


def hit_rate_over_time(windows: pd.DataFrame, measured: dict[str, float]) -> Any:
    """Return the observed hit rate and the ideal one."""
    # The ideal is drawn last, and dashed: where both are one, both are seen.
    rows = long_form(windows, {"hit_rate": "observed", "ideal_hit_rate": IDEAL}, value="share")
    if rows.empty:
        return None
    y = alt.Y("share:Q", title="hit rate", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    colors = {"observed": palette.NEW, IDEAL: palette.IDEAL}
    return _lines(rows, y, colors, measured, tip=alt.Tooltip("share:Q", format=".1%"))


def agents_over_time(windows: pd.DataFrame, measured: dict[str, float]) -> Any:
    """Return live agents and open requests."""
    columns = {
        "live_orchestrators": "orchestrators alive",
        "live_subagents": "sub-agents alive",
        "open_requests": "open requests",
    }
    rows = long_form(windows, columns, value="count")
    if rows.empty:
        return None
    y = alt.Y("count:Q", title="agents, requests", axis=alt.Axis(labelExpr=TOKENS))
    colors = dict(zip(columns.values(), (palette.RUNS[0], palette.RUNS[5], palette.NEW), strict=True))
    return _lines(rows, y, colors, measured, tip=alt.Tooltip("count:Q", format=",.1f"))


def throughput_over_time(windows: pd.DataFrame, measured: dict[str, float]) -> Any:
    """Return prompt and output tokens a second, on a logarithmic axis: they are far apart."""
    columns = {"prompt_tokens_per_s": "prompt", "output_tokens_per_s": "output"}
    rows = long_form(windows, columns, value="tokens")
    rows = rows[rows["tokens"] > 0] if not rows.empty else rows
    if rows.empty:
        return None
    axis = alt.Axis(
        labelExpr=TOKENS, values=_log_ticks(float(rows["tokens"].min()), float(rows["tokens"].max()))
    )
    y = alt.Y("tokens:Q", title="tokens per second", scale=alt.Scale(type="log"), axis=axis)
    colors = {"prompt": palette.CACHED, "output": palette.OUTPUT}
    return _lines(rows, y, colors, measured, tip=alt.Tooltip("tokens:Q", format=",.0f"))


def _log_ticks(least: float, most: float) -> list[float]:
    """Return the ticks of a logarithmic axis: powers of ten, and 2 and 5 of each where there are few."""
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    return [step * 10.0**power for power in decades for step in steps]


def losses(summary: Summary) -> Any:
    """Return one bar: the prompt's tokens that hit, those lost by cause, and those that nothing could hit."""
    cache = summary["cache"]
    lost = cache["lost_to"]
    if cache["hit_rate"] is None or any(value is None for value in lost.values()):
        return None
    parts = [("hit", cache["hit_rate"], palette.CACHED)]
    parts += [(f"lost: {cause.replace('_', ' ')}", lost[cause], LOST_COLORS[cause]) for cause in LOST_TO]
    new = max(0.0, 1 - sum(value for _, value, _ in parts if value))
    parts.append(("new: no cache could hit it", new, palette.NEW))
    return _shares(parts, "share of prompt tokens")


def tiers(summary: Summary) -> Any:
    """Return one bar: hits by the memory that they came from."""
    by_tier = summary["cache"]["hit_rate_by_tier"]
    held = [tier for tier in TIERS if by_tier.get(tier) is not None]
    parts = [(str(tier), by_tier[tier], palette.TIERS[tier]) for tier in held]
    return _shares(parts, "share of prompt tokens") if len(parts) > 1 else None


VERDICTS = {"passed": "#3b9c5a", "undecided": "#d9a441", "failed": "#d64545"}
TICKS_LEAST = 3
"""Powers of two that an axis of agents is marked by; where fewer lie on it, levels are."""
TICK_SHARE = 1 / 20
"""Of a logarithmic axis: marks that are nearer run into each other."""


def capacity(summary: Summary) -> Any:
    """Return the levels that a search walked, with their intervals; None without a search."""
    found = summary.get("capacity")
    levels = (found or {}).get("levels") or []
    rows = [
        {key: level.get(key) for key in ("agents", "value", "low", "high", "verdict")} for level in levels
    ]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return None
    colors = alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values()))
    agents = [row["agents"] for row in rows]
    x_scale = alt.Scale(type="log", base=2, nice=False, padding=24)
    x = alt.X(
        "agents:Q",
        title="concurrent agents",
        scale=x_scale,
        axis=alt.Axis(values=agent_ticks(agents), format=",d"),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x, color=alt.Color("verdict:N", legend=alt.Legend(title=None), scale=colors)
    )
    y_scale = alt.Scale(domain=[0, 1])
    y = alt.Y("value:Q", title="share within the objective", axis=alt.Axis(format=".0%"), scale=y_scale)
    bars = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        y=y, tooltip=["agents:Q", alt.Tooltip("value:Q", format=".1%"), "verdict:N"]
    )
    layers = [*_answer_band(found, x_scale), *_required(levels), bars, points]
    return alt.layer(*layers).properties(width=PLOT_PX, height=HEIGHT_PX)


def agent_ticks(agents: list[int]) -> list[float]:
    """Return powers of two; of levels that lie between few of them, those that stand far enough apart."""
    powers = [2.0**power for power in range(20) if min(agents) <= 2**power <= max(agents)]
    if len(powers) >= TICKS_LEAST:
        return powers
    apart = max(1.0, max(agents) / max(1, min(agents))) ** TICK_SHARE
    chosen: list[float] = []
    for level in sorted(set(agents)):
        if not chosen or level >= chosen[-1] * apart:
            chosen.append(float(level))
    return chosen


def _answer_band(found: Summary | None, scale: alt.Scale) -> list[Any]:
    """Return the interval of the answer as a band over the levels."""
    low, high = (found or {}).get("agents_low"), (found or {}).get("agents_high")
    if not low or not high:
        return []
    at = [{"low": low, "high": high, "text": f"{low:,}" if low == high else f"{low:,} to {high:,} agents"}]
    base = alt.Chart(alt.Data(values=at))
    band = base.mark_rect(color=palette.GOOD, opacity=0.18).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    text = base.mark_text(align="right", dx=-6, dy=8, fontSize=11, color=palette.GOOD).encode(
        x=alt.X("low:Q", scale=scale), y=alt.value(HEIGHT_PX - 24), text="text:N"
    )
    return [band, text]


def _required(levels: list[dict[str, Any]]) -> list[Any]:
    """Return the share that is needed, as a line for each objective's."""
    needed = sorted({level["required"] for level in levels if level.get("required") is not None})
    rows = [{"required": share, "text": f"{share:.0%} needed"} for share in needed]
    base = alt.Chart(alt.Data(values=rows))
    rule = base.mark_rule(color=palette.TEXT, strokeDash=[2, 3]).encode(y="required:Q")
    # At the right, where the levels that failed are far below.
    text = base.mark_text(align="right", dy=9, dx=-4, fontSize=10, color=palette.TEXT).encode(
        x=alt.value(PLOT_PX), y="required:Q", text="text:N"
    )
    return [rule, text]


def _lines(
    rows: pd.DataFrame, y: alt.Y, colors: dict[str, str], measured: dict[str, float], *, tip: alt.Tooltip
) -> Any:
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    lines = (
        alt.Chart(rows)
        .mark_line(clip=True)
        .encode(
            x=time_axis(),
            y=y,
            color=alt.Color("series:N", scale=scale, legend=alt.Legend(title=None, symbolType="stroke")),
            strokeDash=alt.condition(alt.datum.series == IDEAL, alt.value([4, 7]), alt.value([1, 0])),
            tooltip=["series:N", alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"), tip],
        )
    )
    return alt.layer(lines, *phases(measured)).properties(width=PLOT_PX, height=HEIGHT_PX)


def _shares(parts: list[tuple[str, float, str]], title: str) -> Any:
    rows = [
        {"part": name, "share": value, "order": at}
        for at, (name, value, _) in enumerate(parts)
        if value is not None
    ]
    shown = [part for part in parts if part[1]]
    scale = alt.Scale(domain=[name for name, _, _ in shown], range=[color for _, _, color in shown])
    return (
        alt.Chart(alt.Data(values=[row for row in rows if row["share"]]))
        .mark_bar(height=34)
        .encode(
            x=alt.X(
                "share:Q",
                title=title,
                axis=alt.Axis(format=".0%"),
                stack="zero",
                scale=alt.Scale(domain=[0, 1], clamp=True),
            ),
            color=alt.Color(
                "part:N", scale=scale, legend=alt.Legend(title=None, columns=5, symbolType="square")
            ),
            order=alt.Order("order:Q"),
            tooltip=["part:N", alt.Tooltip("share:Q", format=".3%")],
        )
        .properties(width=PLOT_PX, height=52)
    )


def read_frames(folder: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the charts need of a run folder: its longest sessions' requests, and its windows."""
    return sessions(folder), over_time(folder)
