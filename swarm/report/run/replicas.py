"""How evenly work came to replicas (of a live run: to the target's URLs), window by window."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from swarm.report import palette
from swarm.report.charts import phases, time_axis
from swarm.report.numbers import count, share, three
from swarm.report.run.over_time import Measured, panels, scale_top
from swarm.report.theme import PLOT_PX, TOKENS

LINES_MAX = 8
"""Of more replicas the least, the mean and the most are drawn."""
POINTS_MAX = 120
COLUMNS = ("known_prompt_tokens", "cached_tokens", "finished")
HEIGHT_PX = 130


def replica_rows(table: pa.Table) -> pd.DataFrame:
    """Return windows by endpoint, joined until few enough are left; empty where there is one endpoint.

    An endpoint has rows from its first event to its last: before and after it is idle, and has zeros.
    `computed` is NaN where nothing is known of the cache.
    """
    of_endpoints = table.filter(pc.is_valid(table.column("endpoint")))
    if not of_endpoints.num_rows:
        return pd.DataFrame()
    wanted = ["start_s", "end_s", "endpoint", "open_requests_mean", *COLUMNS]
    frame: pd.DataFrame = of_endpoints.select(wanted).to_pandas()
    starts = sorted(frame["start_s"].unique())
    by = math.ceil(len(starts) / POINTS_MAX)
    frame["group"] = frame["start_s"].map({start: at // by for at, start in enumerate(starts)})
    groups = frame.groupby("group").agg(
        start_s=("start_s", "min"), end_s=("end_s", "max"), windows=("start_s", "nunique")
    )
    every = pd.MultiIndex.from_product([groups.index, sorted(frame["endpoint"].unique())])
    joined = frame.groupby(["group", "endpoint"]).agg(
        open_requests=("open_requests_mean", "sum"), **{name: (name, "sum") for name in COLUMNS}
    )
    joined = joined.reindex(every.set_names(["group", "endpoint"]), fill_value=0).reset_index()
    joined = joined.join(groups, on="group")
    joined["open_requests"] /= joined["windows"]
    joined["at_s"] = (joined["start_s"] + joined["end_s"]) / 2
    joined["computed"] = (joined["known_prompt_tokens"] - joined["cached_tokens"]).astype(float)
    if not joined["known_prompt_tokens"].any():
        joined["computed"] = math.nan
    joined["computed_per_s"] = joined["computed"] / (joined["end_s"] - joined["start_s"])
    return joined


def replicas(rows: pd.DataFrame, measured: Measured) -> Any:
    """Return open requests and prompt tokens computed of each replica; of many the least and the most."""
    if rows.empty:
        return None
    titles = {"open_requests": "open requests", "computed_per_s": "computed tokens/s"}
    return panels(
        *(_panel(rows, name, title, measured) for name, title in titles.items() if rows[name].notna().any())
    )


def replicas_told(rows: pd.DataFrame, measured: Measured) -> str:
    """Return how far the busiest was above the mean, by what replicas computed while it was measured."""
    if rows.empty:
        return ""
    inside = rows[rows["at_s"].between(measured["from_s"], measured["to_s"])]
    sums = inside.groupby("endpoint")[["computed", "finished"]].sum()
    if sums.empty or not sums["computed"].sum():
        return ""
    band = " Drawn: their mean, in a band from the least to the most." if len(sums) > LINES_MAX else ""
    most = str(sums["computed"].idxmax())
    above = float(sums["computed"].max() / sums["computed"].mean())
    part = float(sums["finished"][most] / max(1, sums["finished"].sum()))
    return (
        f"Of {len(sums)} that had requests, {most} computed most: {three(above)} times the mean, "
        f"{count(float(sums['computed'][most]))} prompt tokens, with {share(part)} of the requests.{band}"
    )


def _panel(rows: pd.DataFrame, column: str, title: str, measured: Measured) -> Any:
    names = sorted(rows["endpoint"].unique(), key=lambda name: (len(name), name))
    top = scale_top(rows, column, measured)
    y = alt.Y(f"{column}:Q", title=title, axis=alt.Axis(labelExpr=TOKENS, tickCount=4),
              scale=alt.Scale(domain=[0, top]))  # fmt: skip
    if len(names) <= LINES_MAX:
        scale = alt.Scale(domain=names, range=list(palette.RUNS[: len(names)]))
        legend = alt.Legend(title=None, symbolType="stroke", columns=4)
        marks = [
            alt.Chart(rows[["at_s", "endpoint", column]])
            .mark_line(clip=True, strokeWidth=1.5)
            .encode(
                x=time_axis(),
                y=y,
                color=alt.Color("endpoint:N", scale=scale, legend=legend),
                tooltip=[
                    "endpoint:N",
                    alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"),
                    alt.Tooltip(f"{column}:Q", title=title, format=",.4~r"),
                ],
            )
        ]
    else:
        marks = _band(rows, column, title, top)
    return alt.layer(*phases(dict(measured)), *marks).properties(width=PLOT_PX, height=HEIGHT_PX)


def _band(rows: pd.DataFrame, column: str, title: str, top: float) -> list[Any]:
    found = rows.groupby("at_s", as_index=False)[column].agg(["min", "mean", "max"])
    scale = alt.Scale(domain=[0, top])
    y = alt.Y("min:Q", title=title, axis=alt.Axis(labelExpr=TOKENS, tickCount=4), scale=scale)
    base = alt.Chart(found).encode(x=time_axis())
    band = base.mark_area(color=palette.OUTPUT, opacity=0.3, clip=True).encode(
        y=y,
        y2="max:Q",
        tooltip=[
            alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"),
            *(
                alt.Tooltip(f"{of}:Q", title=f"{title}: {of}", format=",.4~r")
                for of in ("min", "mean", "max")
            ),
        ],
    )
    return [band, base.mark_line(color=palette.OUTPUT, clip=True).encode(y=alt.Y("mean:Q", scale=scale))]
