"""The charts of one run: what it was like over time, and where its hits came from and went to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from swarm.hit_names import LOST_TO, TIERS
from swarm.report import palette
from swarm.report.run.failing import failing_over_time
from swarm.report.run.lengths import ttft_by_length
from swarm.report.run.limits import cost, waiting_over_time
from swarm.report.run.memories import memories
from swarm.report.run.missed import slo_over_time
from swarm.report.run.over_time import (
    HEIGHT_PX,
    agents_over_time,
    decoding_over_time,
    hit_rate_over_time,
    latency_over_time,
    server_over_time,
    throughput_over_time,
)
from swarm.report.run.remarks import is_same_latency
from swarm.report.run.replicas import replicas
from swarm.report.run.timeline import timeline
from swarm.report.run.view import View
from swarm.report.theme import PLOT_PX

Summary = Mapping[str, Any]
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


def run_charts(view: View) -> dict[str, Any]:
    """Return the charts that this run has something to show in, by name, in the order of the page."""
    summary, windows, measured = view.summary, view.windows, view.summary["measured"]
    found: dict[str, Any] = {"capacity": capacity(summary)}
    if view.missed is not None:
        found["slo"] = slo_over_time(view.requests, view.missed, measured)
    found["failing"] = failing_over_time(view.failing, measured)
    found["waiting"] = waiting_over_time(view.waiting, measured)
    found["losses"], found["tiers"] = losses(summary), tiers(summary)
    found["memories"] = memories(view.memories, windows, measured)
    found["replicas"] = replicas(view.replicas, measured)
    found["ttft_by_length"] = ttft_by_length(view.lengths)
    if not view.sessions.empty:
        found["session_timeline"] = timeline(view.sessions)
    if not windows.empty:
        found["effective_ttft"] = latency_over_time(windows, "effective_ttft_s", "effective TTFT", measured)
        if not is_same_latency(windows):
            found["ttft"] = latency_over_time(windows, "ttft_s", "TTFT on the wire", measured)
        found["tpot"] = decoding_over_time(windows, measured)
        found["hit_rate"] = hit_rate_over_time(windows, measured)
        found["agents"] = agents_over_time(windows, measured)
        found["server"] = server_over_time(windows, measured)
        found["throughput"] = throughput_over_time(windows, measured)
    found["cost"] = cost(summary)
    return {name: chart for name, chart in found.items() if chart is not None}


def losses(summary: Summary) -> Any:
    """Return one bar: the prompt's tokens that hit, those lost by cause, and those that nothing could hit."""
    cache = summary["cache"]
    lost = cache["lost_to"]
    if cache["hit_rate"] is None or any(value is None for value in lost.values()):
        return None
    parts = [("hit", cache["hit_rate"], palette.CACHED)]
    parts += [(f"lost: {cause.replace('_', ' ')}", lost[cause], LOST_COLORS[cause]) for cause in LOST_TO]
    told = [(name, max(0.0, value), color) for name, value, color in parts]
    new = max(0.0, 1 - sum(value for _, value, _ in told))
    told.append(("new: no cache could hit it", new, palette.NEW))
    # A server may count more hits than the ideal's whole blocks: then the parts are shares of their sum.
    whole = max(1.0, sum(value for _, value, _ in told))
    return _shares([(name, value / whole, color) for name, value, color in told], "share of prompt tokens")


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
        y=y,
        tooltip=[
            "agents:Q",
            alt.Tooltip("value:Q", title="share within the objective", format=".1%"),
            *(alt.Tooltip(f"{at}:Q", title=f"{at} (interval)", format=".1%") for at in ("low", "high")),
            "verdict:N",
        ],
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
                axis=alt.Axis(format=".0%", tickCount=10),
                stack="zero",
                scale=alt.Scale(domain=[0, 1], clamp=True),
            ),
            color=alt.Color(
                "part:N", scale=scale, legend=alt.Legend(title=None, columns=5, symbolType="square")
            ),
            order=alt.Order("order:Q"),
            tooltip=["part:N", alt.Tooltip("share:Q", title="share of prompt tokens", format=".3%")],
        )
        .properties(width=PLOT_PX, height=52)
    )
