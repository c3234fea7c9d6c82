"""A session's agents as lanes under their orchestrator: when each waited, computed, wrote and compacted."""

from __future__ import annotations

import altair as alt

from swarm.report import palette
from swarm.report.charts import time_axis
from swarm.report.theme import PLOT_PX

STAGES = {
    "waits to be sent": palette.USER,
    "until the first token": palette.NEW,
    "output": palette.OUTPUT,
    "failed": palette.BAD,
    "compaction": palette.COMPACTION,
}
"""The stretches of a request, and what is marked on it."""
LANE_PX = 15
_LIFE = "thinks, or waits for its sub-agents"
_TIPS = [
    alt.Tooltip("agent:N"),
    alt.Tooltip("turn:Q"),
    alt.Tooltip("outcome:N"),
    alt.Tooltip("error_class:N", title="failed as"),
    alt.Tooltip("intended_s:Q", title="due (s)", format=",.1f"),
    alt.Tooltip("wait_s:Q", title="waited to be sent (s)", format=",.3~f"),
    alt.Tooltip("ttft_s:Q", title="until the first token (s)", format=",.3~f"),
    alt.Tooltip("completed_s:Q", title="ended (s)", format=",.1f"),
]


def lanes() -> alt.LayerChart:
    """Return the lanes of the rows of `session_rows`, one session's at a time."""
    layers = [
        _life(),
        _stretch("waits to be sent", "intended_s", "sent_s"),
        _stretch("until the first token", "sent_s", "first_token_s"),
        _stretch("output", "first_token_s", "completed_s"),
        _mark("compaction", "datum.kind == 'compact'", "intended_s", "triangle-down"),
        _mark("failed", "datum.outcome == 'failed'", "completed_s", "cross"),
    ]
    return (
        alt.layer(*layers)
        .transform_filter("isValid(datum.lane_at)")
        .transform_calculate(
            wait_s="datum.sent_s - datum.intended_s", ttft_s="datum.first_token_s - datum.sent_s"
        )
        .properties(width=PLOT_PX, height=alt.Step(LANE_PX))
    )


def _lane() -> alt.Y:
    order = alt.EncodingSortField(field="lane_at", op="min", order="ascending")
    return alt.Y("lane:N", sort=order, title=None, axis=alt.Axis(labelLimit=90, grid=True, gridOpacity=0.12))


def _color() -> alt.Color:
    scale = alt.Scale(domain=[_LIFE, *STAGES], range=[palette.CACHED, *STAGES.values()])
    return alt.Color("stage:N", scale=scale, legend=alt.Legend(title=None, symbolType="square", columns=6))


def _life() -> alt.Chart:
    return (
        alt.Chart()
        .transform_aggregate(
            from_s="min(intended_s)", to_s="max(completed_s)", lane_at="min(lane_at)", groupby=["lane"]
        )
        .transform_calculate(stage=f"'{_LIFE}'")
        .mark_rule(strokeWidth=1.5)
        .encode(x=_x("from_s"), x2="to_s:Q", y=_lane(), color=_color())
    )


def _stretch(stage: str, start: str, end: str) -> alt.Chart:
    return (
        alt.Chart()
        .transform_filter(f"isValid(datum.{start}) && isValid(datum.{end}) && datum.{end} > datum.{start}")
        .transform_calculate(stage=f"'{stage}'")
        .mark_bar(height=LANE_PX - 5, clip=True)
        .encode(x=_x(start), x2=f"{end}:Q", y=_lane(), color=_color(), tooltip=_TIPS)
    )


def _mark(stage: str, when: str, at: str, shape: str) -> alt.Chart:
    return (
        alt.Chart()
        .transform_filter(when)
        .transform_calculate(stage=f"'{stage}'")
        .mark_point(shape=shape, size=50, filled=True, opacity=1)
        .encode(x=_x(at), y=_lane(), color=_color(), tooltip=_TIPS)
    )


def _x(name: str) -> alt.X:
    axis = time_axis()
    axis.shorthand = f"{name}:Q"
    return axis
