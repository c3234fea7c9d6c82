"""The first of all charts: what one session's requests were made of, one bar each, over its life."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from swarm.report import palette
from swarm.report.run.lanes import lanes
from swarm.report.theme import PLOT_PX, TOKENS

PARTS = {
    "cached": palette.CACHED,
    "new input (computed)": palette.NEW,
    "input, cache use not reported": palette.UNSAID,
    "output": palette.OUTPUT,
    "user message": palette.USER,
    "compaction": palette.COMPACTION,
}
_COLUMNS = [
    *("label", "agent", "lane", "lane_at", "turn", "kind", "outcome", "error_class", "is_ok"),
    *("intended_s", "sent_s", "first_token_s", "completed_s"),
    *("prompt_tokens", "cached_tokens", "new_tokens", "output_tokens"),
    *("is_subagent", "is_user", "bar_px"),
]
_TIPS = [
    alt.Tooltip("agent:N"),
    alt.Tooltip("turn:Q"),
    alt.Tooltip("intended_s:Q", title="due (s)", format=",.1f"),
    alt.Tooltip("prompt_tokens:Q", title="prompt (tokens)", format=","),
    alt.Tooltip("cached_tokens:Q", title="cached", format=","),
    alt.Tooltip("new_tokens:Q", title="new", format=","),
    alt.Tooltip("output_tokens:Q", title="output", format=","),
]


def timeline(frame: pd.DataFrame) -> Any:
    """Return the token usage timeline of the sessions in `session_rows`, one at a time by a menu.

    Below it each agent of the session has a lane.
    """
    labels = list(dict.fromkeys(frame["label"]))
    menu = alt.param("session", value=labels[0], bind=alt.binding_select(options=labels, name="Session  "))
    frame = frame[_COLUMNS].copy()
    frame["end_tokens"] = frame["prompt_tokens"] + frame["output_tokens"]
    has_finished = bool(frame["is_ok"].any())
    known = set(PARTS) if has_finished else {"user message"}
    if frame.loc[frame["is_ok"], "cached_tokens"].notna().all():
        known -= {"input, cache use not reported"}
    if not (frame["kind"] == "compact").any():
        known -= {"compaction"}
    scale = alt.Scale(
        domain=[part for part in PARTS if part in known],
        range=[PARTS[part] for part in PARTS if part in known],
    )
    panels: list[Any] = [_people(scale)]
    if has_finished:
        bars = _prompts(scale, "!datum.is_subagent && datum.is_ok", "orchestrator: tokens", 250)
        panels = [bars, _outputs(scale), *panels]
    tokens = alt.vconcat(*panels, spacing=8).resolve_scale(x="shared", color="shared")
    # Sessions differ in lanes: the menu changes the height.
    grows = alt.AutoSizeParams(type="pad", resize=True)
    return (
        alt.vconcat(tokens, lanes(), data=frame, spacing=14, autosize=grows)
        .transform_filter("datum.label == session")
        .add_params(menu)
        .resolve_scale(x="shared", color="independent")
    )


def _x() -> alt.X:
    axis = alt.Axis(labels=False, ticks=False, title=None)
    return alt.X("intended_s:Q", axis=axis, scale=alt.Scale(nice=False, zero=False, padding=12))


def _color(scale: alt.Scale) -> alt.Color:
    return alt.Color(
        "part:N", scale=scale, legend=alt.Legend(title=None, symbolType="square", symbolStrokeWidth=0)
    )


def _named(part: str) -> dict[str, str]:
    """Return the calculation that names all marks of a layer, for the legend."""
    return {"part": f"'{part}'"}


def _bars(
    part: str, scale: alt.Scale, low: str, high: str, title: str, when: str, *, ticks: int = 5
) -> alt.Chart:
    return (
        alt.Chart()
        .transform_filter(when)
        .transform_calculate(**_named(part))
        .mark_bar(clip=True)
        .encode(
            x=_x(),
            y=alt.Y(f"{low}:Q", title=title, axis=alt.Axis(labelExpr=TOKENS, tickCount=ticks)),
            y2=f"{high}:Q",
            size=alt.Size("bar_px:Q", scale=None),
            color=_color(scale),
            tooltip=_TIPS,
        )
    )


def _prompts(scale: alt.Scale, when: str, title: str, height: int) -> alt.LayerChart:
    said, unsaid = f"{when} && isValid(datum.cached_tokens)", f"{when} && !isValid(datum.cached_tokens)"
    layers: list[Any] = [
        _bars("cached", scale, "zero", "cached_tokens", title, said),
        _bars("new input (computed)", scale, "cached_tokens", "prompt_tokens", title, said),
        _bars("input, cache use not reported", scale, "zero", "prompt_tokens", title, unsaid),
        _bars("output", scale, "prompt_tokens", "end_tokens", title, when),
    ]
    compactions = (
        alt.Chart()
        .transform_filter(f"{when} && datum.kind == 'compact'")
        .transform_calculate(**_named("compaction"))
    )
    layers += [
        compactions.mark_rule(strokeDash=[3, 3], strokeWidth=1.2).encode(x=_x(), color=_color(scale)),
        compactions.mark_point(shape="triangle-down", size=90, filled=True, opacity=1, yOffset=-7).encode(
            x=_x(), y=alt.value(0), color=_color(scale), tooltip=_TIPS
        ),
    ]
    return alt.layer(*layers).transform_calculate(zero="0").properties(width=PLOT_PX, height=height)


def _outputs(scale: alt.Scale) -> alt.LayerChart:
    """Outputs once more, on a scale of their own: on the prompts' they are a hair."""
    bars = _bars("output", scale, "zero", "output_tokens", "output only", "datum.is_ok", ticks=2)
    return alt.layer(bars).transform_calculate(zero="0").properties(width=PLOT_PX, height=56)


def _people(scale: alt.Scale) -> alt.Chart:
    return (
        alt.Chart()
        .transform_filter("datum.is_user")
        .transform_calculate(**_named("user message"))
        .mark_point(filled=True, size=70, opacity=1)
        .encode(x=_x(), y=alt.value(8), color=_color(scale), tooltip=_TIPS)
        .properties(width=PLOT_PX, height=16)
    )
