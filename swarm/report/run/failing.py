"""Failed requests over time, by class: what the table of their words does not show is when."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from swarm.report import palette
from swarm.report.charts import phases, time_axis
from swarm.report.numbers import seconds
from swarm.report.run.over_time import Measured
from swarm.report.run.requests import Requests
from swarm.report.theme import PLOT_PX, TOKENS
from swarm.units import counted

STRETCHES = 80
CLASSES_MAX = 7
"""Classes with a colour of their own; the others are one."""
OTHERS = "others"
HEIGHT_PX = 130


def failing_rows(requests: Requests, to_s: float) -> pd.DataFrame:
    """Return how many requests failed in each stretch of the run, by class; empty where none did."""
    keep = requests.is_("outcome", "failed")
    if not keep.any() or to_s <= 0:
        return pd.DataFrame()
    codes, words = requests.codes("error_class")
    codes, at_s = codes[keep], requests.number("completed_s")[keep]
    wide_s = max(to_s, float(at_s.max())) / STRETCHES
    order = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(words)), kind="stable")
    named = {int(code): words[code] for code in order[:CLASSES_MAX]}
    stretch = np.minimum(at_s // wide_s, STRETCHES - 1).astype(np.int64)
    frame = pd.DataFrame(
        {"stretch": stretch, "class": [named.get(int(code), OTHERS) for code in codes], "failed": 1}
    )
    rows: pd.DataFrame = frame.groupby(["class", "stretch"], as_index=False).sum()
    rows["at_s"], rows["to_s"] = rows["stretch"] * wide_s, (rows["stretch"] + 1) * wide_s
    return rows.drop(columns="stretch")


def failing_over_time(rows: pd.DataFrame, measured: Measured) -> Any:
    """Return the failures as stacked bars."""
    if rows.empty:
        return None
    names = list(rows.groupby("class")["failed"].sum().sort_values(ascending=False).index)
    scale = alt.Scale(domain=names, range=list(palette.RUNS[: len(names)]))
    bars = (
        alt.Chart(rows)
        .mark_bar(binSpacing=0)
        .encode(
            x=_binned(),
            x2="to_s:Q",
            y=alt.Y("failed:Q", title="failed requests", stack="zero",
                    axis=alt.Axis(labelExpr=TOKENS, values=_whole_ticks(rows))),
            color=alt.Color("class:N", scale=scale, legend=alt.Legend(title=None, symbolType="square")),
            tooltip=["class:N", "failed:Q", alt.Tooltip("at_s:Q", title="from (s)", format=",.1f")],
        )
    )  # fmt: skip
    return alt.layer(*phases(dict(measured)), bars).properties(width=PLOT_PX, height=HEIGHT_PX)


def _whole_ticks(rows: pd.DataFrame) -> list[int]:
    """Return about four whole numbers up to the highest bar."""
    most = int(rows.groupby("at_s")["failed"].sum().max())
    return list(range(0, most + 1, max(1, most // 4)))


def _binned() -> alt.X:
    """Return the time axis of bars that are as wide as their stretch."""
    axis = time_axis()
    axis["bin"] = "binned"
    return axis


def failing_told(requests: Requests) -> str:
    """Return from when to when requests failed, and in how many sessions."""
    keep = requests.is_("outcome", "failed")
    if not keep.any():
        return ""
    at_s = requests.number("completed_s")[keep]
    places, _ = requests.codes("session")
    sessions = counted(len(np.unique(places[keep])), "session")
    when = f"the first {seconds(float(at_s.min()))} in, the last {seconds(float(at_s.max()))} in"
    if len(at_s) == 1:
        when = f"{seconds(float(at_s[0]))} in"
    return f"{counted(len(at_s), 'request')} of {sessions} failed, {when}."
