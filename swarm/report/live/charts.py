"""The charts of something that goes on: a run's own, as far as it has got, and what its agents do."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from swarm.report import palette
from swarm.report.charts import spec_of, time_axis
from swarm.report.live.doing import ASKS, COMPACTS, DOING, JOINS, THINKS
from swarm.report.live.going import Going
from swarm.report.run.over_time import (
    HEIGHT_PX,
    hit_rate_over_time,
    latency_over_time,
    throughput_over_time,
)
from swarm.report.theme import PLOT_PX, SPAN, TOKENS, span_ticks

DOING_COLORS = {
    ASKS: palette.NEW,
    COMPACTS: palette.COMPACTION,
    JOINS: palette.USER,
    THINKS: palette.CACHED,
}
TITLES = {
    "doing": "What the agents do",
    "effective_ttft": "Effective TTFT",
    "tpot": "Time per output token",
    "hit_rate": "Hit rate",
    "throughput": "Tokens",
    "course": "Simulated time",
}


def live_charts(going: Going, windows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the specifications of the charts that have something to show, by name, in the page's order."""
    found: dict[str, Any] = {"doing": doing_over_time(going), "course": course(going)}
    if not windows.empty and going.experiment is not None:
        measured = {"from_s": min(going.experiment.load.warmup_s, going.now_s), "to_s": going.now_s}
        found["effective_ttft"] = latency_over_time(windows, "effective_ttft_s", "effective TTFT", measured)
        found["tpot"] = latency_over_time(windows, "tpot_s", "time per output token", measured)
        found["hit_rate"] = hit_rate_over_time(windows, measured)
        found["throughput"] = throughput_over_time(windows, measured)
    return {name: named(spec_of(chart)) for name, chart in found.items() if chart is not None}


def doing_over_time(going: Going) -> Any:
    """Return how many agents did what, stacked, over the run's time."""
    history = going.doings.history
    if len(history) < 2:
        return None
    rows = pd.DataFrame(history).melt("at_s", var_name="does", value_name="agents")
    rows["order"] = rows["does"].map({name: at for at, name in enumerate(DOING)})
    scale = alt.Scale(domain=list(DOING_COLORS), range=list(DOING_COLORS.values()))
    return (
        alt.Chart(rows)
        .mark_area(interpolate="step-after")
        .encode(
            x=time_axis(),
            y=alt.Y("agents:Q", title="agents", stack="zero", axis=alt.Axis(labelExpr=TOKENS, tickMinStep=1)),
            color=alt.Color("does:N", scale=scale, legend=alt.Legend(title=None, symbolType="square")),
            order="order:Q",
            tooltip=["does:N", "agents:Q", alt.Tooltip("at_s:Q", title="time (s)", format=",.0f")],
        )
        .properties(width=PLOT_PX, height=HEIGHT_PX)
    )


def course(going: Going) -> Any:
    """Return a simulation's time over the time that it has taken."""
    if len(going.steps) < 2:
        return None
    rows = pd.DataFrame(going.steps)[["wall_s", "now_s", "ended"]]
    return (
        alt.Chart(rows)
        .mark_line()
        .encode(
            x=alt.X("wall_s:Q", title="time that it has taken", axis=_spans(rows["wall_s"])),
            y=alt.Y("now_s:Q", title="simulated time", axis=_spans(rows["now_s"])),
            color=alt.value(palette.OUTPUT),
            tooltip=["wall_s:Q", "now_s:Q", "ended:Q"],
        )
        .properties(width=PLOT_PX, height=HEIGHT_PX)
    )


def _spans(times_s: pd.Series[float]) -> alt.Axis:
    return alt.Axis(labelExpr=SPAN, values=span_ticks(float(times_s.max())))


def named(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a specification whose data sets are called d0, d1, ...: the same chart has the same names."""
    names = {name: f"d{at}" for at, name in enumerate(spec.get("datasets", {}))}
    renamed = _renamed(spec, names)
    assert isinstance(renamed, dict)
    renamed["datasets"] = {names[name]: rows for name, rows in spec.get("datasets", {}).items()}
    return renamed


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if isinstance(part, list):
        return [_renamed(each, names) for each in part]
    if not isinstance(part, dict):
        return part
    if set(part) == {"name"} and part["name"] in names:
        return {"name": names[part["name"]]}
    return {key: value if key == "datasets" else _renamed(value, names) for key, value in part.items()}
