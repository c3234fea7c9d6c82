"""Charts of a workload: working set, hits, capacity, gaps, session timelines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from swarm.report.analysis.frames import Row, ttl_label
from swarm.report.numbers import share, three
from swarm.report.palette import RUNS
from swarm.report.theme import CLOCK, CLOCK_TICKS, TOKENS
from swarm.reuse.curves import TtlResult

SALMON, GRAY, BLUE = "#fa8072", "#b3b3b3", "#4c78a8"
TTL_COLORS = (*RUNS[1:], RUNS[0])
"""Of lines by TTL, and of token counts by what they are of."""
_WIDTH, _HEIGHT = 720, 300
_SECONDS = (
    "datum.value < 60 ? datum.value + ' s' : "
    "datum.value < 3600 ? format(datum.value / 60, '.3~g') + ' min' : "
    "datum.value < 172800 ? format(datum.value / 3600, '.3~g') + ' h' : "
    "format(datum.value / 86400, '.3~g') + ' d'"
)
_SECOND_TICKS = [1, 10, 60, 600, 3600, 21600, 86400, 259200, 604800, 2592000]
_TOKEN_TICKS = [digit * 10**power for power in range(12) for digit in (1, 2, 5)]
_LABELS_APART = 4.0
"""Capacities whose labels stand beside each other differ by this factor."""
_DECADES = [10**power for power in range(12)]


def working_set_chart(rows: list[Row], labels: Sequence[str]) -> alt.Chart:
    """Return the tokens held over time by TTL."""
    return (
        alt.Chart(alt.Data(values=rows), width=_WIDTH, height=_HEIGHT)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X(
                "time_s:Q",
                title="time since the first request",
                scale=alt.Scale(type="log", nice=False),
                axis=_seconds_axis(),
            ),
            y=alt.Y("tokens:Q", title="tokens held", axis=alt.Axis(labelExpr=TOKENS)),
            color=_ttl_color(labels),
            tooltip=[
                "ttl:N",
                alt.Tooltip("time_s:Q", title="time (s)", format=",.0f"),
                alt.Tooltip("tokens:Q", format=","),
            ],
        )
    )


def ttl_chart(results: Sequence[TtlResult], input_tokens: int) -> alt.HConcatChart:
    """Return hit rate and mean computations of a block, side by side, by TTL."""
    rows = [
        {
            "ttl": ttl_label(result.ttl_us),
            "hit_rate": result.hit_tokens / max(1, input_tokens),
            "computed": result.computed_mean,
            "most": result.computed_max,
        }
        for result in results
    ]
    labels = [row["ttl"] for row in rows]
    x = alt.X("ttl:N", sort=labels, title="TTL", axis=alt.Axis(labelAngle=0))
    tips = [
        alt.Tooltip("ttl:N", title="TTL"),
        alt.Tooltip("hit_rate:Q", title="hit rate (tokens)", format=".1%"),
        alt.Tooltip("computed:Q", title="times a block is computed (mean)", format=".2f"),
    ]
    base = alt.Chart(alt.Data(values=rows), width=_WIDTH // 2 - 40, height=_HEIGHT - 60)
    hits = base.encode(
        x=x,
        y=alt.Y(
            "hit_rate:Q", title="hit rate (tokens)", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
    )
    computed = base.encode(x=x, y=alt.Y("computed:Q", title="times a block is computed (mean)"))
    return alt.hconcat(
        hits.encode(tooltip=tips).mark_bar(color=GRAY)
        + hits.mark_text(dy=-7).encode(text=alt.Text("hit_rate:Q", format=".1%")),
        computed.mark_bar(color=SALMON)
        + computed.mark_text(dy=-7).encode(text=alt.Text("computed:Q", format=".2f")),
    )


def capacity_chart(rows: list[Row], ceiling: float) -> alt.LayerChart:
    """Return the hit rate of one pool by its capacity: LRU, and optimal eviction; dashed: no limit."""
    base = alt.Chart(alt.Data(values=rows), width=_WIDTH, height=_HEIGHT).encode(
        x=alt.X(
            "capacity_tokens:Q",
            title="capacity (tokens)",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(labelExpr=TOKENS, values=_TOKEN_TICKS, labelOverlap="greedy", labelSeparation=8),
        ),
        y=alt.Y(
            "hit_rate:Q", title="hit rate (tokens)", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
        tooltip=[
            alt.Tooltip("capacity_tokens:Q", title="capacity (tokens)", format=","),
            alt.Tooltip("hit_rate:Q", title="LRU", format=".3%"),
            alt.Tooltip("optimal_hit_rate:Q", title="optimal", format=".3%"),
        ],
    )
    optimal = base.encode(y="optimal_hit_rate:Q").mark_line(color=SALMON, strokeWidth=2)
    limit = alt.Chart(alt.Data(values=[{"hit_rate": ceiling}])).mark_rule(color=GRAY, strokeDash=[4, 4])
    points = base.transform_filter("datum.asked").mark_point(color=BLUE, filled=True, size=60)
    labels = alt.Chart(alt.Data(values=_apart([row for row in rows if row["asked"]])))
    # Below the line to its right, where a curve that rises leaves room.
    texts = labels.mark_text(dy=14, dx=16).encode(
        x="capacity_tokens:Q", y="hit_rate:Q", text=alt.Text("hit_rate:Q", format=".1%")
    )
    lru = base.mark_line(color=BLUE, strokeWidth=2)
    return limit.encode(y="hit_rate:Q") + optimal + lru + points + texts


def _apart(rows: list[Row]) -> list[Row]:
    """Return the rows, from the left, whose labels do not touch on the narrowest screen."""
    kept: list[Row] = []
    for row in rows:
        if not kept or row["capacity_tokens"] >= _LABELS_APART * kept[-1]["capacity_tokens"]:
            kept.append(row)
    return kept


def gap_chart(rows: list[Row]) -> alt.Chart:
    """Return the distribution of gaps on a logarithmic axis."""
    shown = [row | {"value": max(row["value"], 0.5)} for row in rows]
    return (
        alt.Chart(alt.Data(values=shown), width=_WIDTH, height=_HEIGHT)
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            x=alt.X("value:Q", title="gap", scale=alt.Scale(type="log", nice=False), axis=_seconds_axis()),
            y=alt.Y("share:Q", title="share of gaps that are shorter", axis=alt.Axis(format="%")),
            color=alt.Color("kind:N", title=None, scale=alt.Scale(range=[SALMON, BLUE])),
            tooltip=[
                "kind:N",
                alt.Tooltip("value:Q", title="gap (s)", format=",.1f"),
                alt.Tooltip("share:Q", title="share that is shorter", format=".2%"),
            ],
        )
    )


def size_chart(rows: list[Row], title: str) -> alt.Chart:
    """Return distributions of token counts on a logarithmic axis."""
    shown = [row | {"value": max(row["value"], 1.0)} for row in rows]
    return (
        alt.Chart(alt.Data(values=shown), width=_WIDTH, height=_HEIGHT - 60)
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            x=alt.X(
                "value:Q",
                title=title,
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(labelExpr=TOKENS, values=_DECADES),
            ),
            y=alt.Y("share:Q", title="share below", axis=alt.Axis(format="%")),
            color=alt.Color("kind:N", title=None, scale=_kinds(rows)),
            tooltip=[
                "kind:N",
                alt.Tooltip("value:Q", title=title, format=",.0f"),
                alt.Tooltip("share:Q", title="share below", format=".2%"),
            ],
        )
    )


def _kinds(rows: list[Row]) -> alt.Scale:
    """Return colours for as many kinds as there are."""
    return alt.Scale(range=TTL_COLORS[: max(2, len({row["kind"] for row in rows}))])


def cost_chart(cost: dict[str, Any], labels: Sequence[str]) -> alt.LayerChart:
    """Return what the workload costs by TTL, beside no cache at all."""
    rows = [{"choice": "no cache", "cost": cost["uncached"], "text": three(cost["uncached"])}] + [
        {
            "choice": label,
            "cost": row["cost"],
            "text": f"{three(row['cost'])} ({share(row['share_of_uncached'])})",
        }
        for label, row in zip(labels, cost["ttl"], strict=True)
        if row["cost"] is not None
    ]
    base = alt.Chart(alt.Data(values=rows), width=_WIDTH, height=_HEIGHT - 120).encode(
        x=alt.X(
            "cost:Q",
            title=f"cost ({cost['currency']})",
            axis=alt.Axis(labelExpr=TOKENS, tickCount=6, labelOverlap=True),
        ),
        y=alt.Y("choice:N", sort=[row["choice"] for row in rows], title=None),
    )
    tips = ["choice:N", alt.Tooltip("cost:Q", title=f"cost ({cost['currency']})", format=",.4~r")]
    text = base.mark_text(align="left", dx=4).encode(text="text:N")
    return base.encode(tooltip=tips).mark_bar(color=BLUE) + text


def over_time_chart(rows: list[Row], labels: Sequence[str], *, is_static: bool) -> alt.Chart:
    """Return all requests' tokens over time: cached gray, new salmon, output blue; the TTL is chosen."""
    bind = alt.binding_select(options=list(labels), name="cached with TTL ")
    ttl = alt.param(name="ttl", value=labels[-1], bind=alt.Undefined if is_static else bind)
    return (
        alt.Chart(alt.Data(values=rows), width=_WIDTH, height=_HEIGHT)
        .add_params(ttl)
        .transform_filter("datum.ttl == ttl")
        .mark_rect()
        .encode(
            x=alt.X(
                "from_s:Q",
                title="time since the first request",
                axis=alt.Axis(labelExpr=CLOCK, values=alt.ExprRef(CLOCK_TICKS), labelOverlap=True),
                scale=alt.Scale(nice=False),
            ),
            x2="to_s:Q",
            y=alt.Y("bottom:Q", title="tokens per second", axis=alt.Axis(labelExpr=TOKENS)),
            y2="top:Q",
            color=_part_color(),
            tooltip=[
                alt.Tooltip("from_s:Q", title="from (s)", format=",.0f"),
                alt.Tooltip("part:N"),
                alt.Tooltip("tokens_per_s:Q", title="tokens per second", format=",.0f"),
            ],
        )
    )


def timeline_chart(
    rows: list[Row], sessions: Sequence[str], labels: Sequence[str], *, is_static: bool
) -> alt.Chart:
    """Return one session's requests: cached gray, new salmon, output blue; session and TTL are chosen.

    A static chart shows the first session under the last TTL.
    """
    session = alt.param(
        name="session",
        value=sessions[0],
        bind=alt.Undefined if is_static else alt.binding_select(options=list(sessions), name="session "),
    )
    ttl = alt.param(
        name="ttl",
        value=len(labels) - 1,
        bind=alt.Undefined
        if is_static
        else alt.binding_select(
            options=list(range(len(labels))), labels=list(labels), name="cached with TTL "
        ),
    )
    return (
        alt.Chart(alt.Data(values=rows), width=_WIDTH, height=_HEIGHT)
        .add_params(session, ttl)
        .transform_filter("datum.session == session")
        .transform_calculate(cached="datum['cached_' + ttl]")
        .transform_calculate(new="datum.input - datum.cached")
        .transform_calculate(right="datum.n + 0.92")
        .transform_fold(["cached", "new", "output"], as_=["part", "tokens"])
        .transform_calculate(level="indexof(['cached', 'new', 'output'], datum.part)")
        .transform_stack(stack="tokens", groupby=["n"], sort=[alt.SortField("level")], as_=["bottom", "top"])
        .mark_bar(binSpacing=0)
        .encode(
            x=alt.X(
                "n:Q",
                title="request of the session",
                axis=alt.Axis(tickMinStep=1),
                scale=alt.Scale(nice=False),
            ),
            x2="right:Q",
            y=alt.Y("bottom:Q", title="tokens", axis=alt.Axis(labelExpr=TOKENS)),
            y2="top:Q",
            color=_part_color(),
            tooltip=[
                alt.Tooltip("n:Q", title="request"),
                alt.Tooltip("time_s:Q", title="at (s)", format=",.1f"),
                alt.Tooltip("agent:N"),
                alt.Tooltip("cached:Q", title="cached (tokens)", format=","),
                alt.Tooltip("new:Q", format=","),
                alt.Tooltip("output:Q", format=","),
            ],
        )
    )


def _ttl_color(labels: Sequence[str]) -> alt.Color:
    return alt.Color(
        "ttl:N",
        title="TTL",
        sort=list(labels),
        scale=alt.Scale(
            domain=list(labels), range=TTL_COLORS[: len(labels)] if len(labels) <= 8 else alt.Undefined
        ),
    )


def _seconds_axis() -> alt.Axis:
    return alt.Axis(values=_SECOND_TICKS, labelExpr=_SECONDS)


def _part_color() -> alt.Color:
    """Return the colours of a request's tokens: cached gray, new salmon, output blue."""
    scale = alt.Scale(domain=["cached", "new", "output"], range=[GRAY, SALMON, BLUE])
    return alt.Color("part:N", title=None, scale=scale)
