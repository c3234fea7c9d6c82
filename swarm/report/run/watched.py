"""Metrics of others beside the TTFT, on one time axis: a panel a series, a line for each set of labels."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa

from swarm.report import palette
from swarm.report.charts import phases, time_axis
from swarm.report.numbers import plain, seconds
from swarm.report.run.frames import POINTS_MAX, long_form
from swarm.report.theme import PLOT_PX, SPAN, TOKENS, span_ticks

PANELS_MAX = 6
"""Series that are drawn; all are in `watched.parquet`."""
LINES_MAX = 8
"""Sets of labels of one series that are drawn, those whose values vary the most."""
HEIGHT_PX = 110
LEFT_OUT = frozenset(
    {"UUID", "uuid", "pci_bus_id", "modelName", "DCGM_FI_DRIVER_VERSION", "Hostname", "device"}
)
"""Labels that name the same thing again."""


def series_of(table: pa.Table | None) -> pd.DataFrame:
    """Return what was watched as values over time: `at_s`, `name`, `line`, `value`; counters as rates.

    At most `PANELS_MAX` names, `LINES_MAX` lines of each and `POINTS_MAX` points of a line.
    """
    if table is None or not table.num_rows:
        return pd.DataFrame(columns=["at_s", "name", "line", "value"])
    frame = table.to_pandas()
    for column in ("url", "name", "labels"):
        frame[column] = frame[column].astype(str)
    frame["line"] = _lines(frame)
    parts = [_rated(part) for _, part in frame.groupby(["name", "line"], sort=False)]
    whole = pd.concat([_thinned(part) for part in parts if len(part)] or [frame.iloc[:0]])
    names = list(dict.fromkeys(whole["name"]))[:PANELS_MAX]
    return pd.concat([_liveliest(whole[whole["name"] == name]) for name in names]) if names else whole


def watched_chart(windows: pd.DataFrame, series: pd.DataFrame, measured: dict[str, float] | None) -> Any:
    """Return effective TTFT, if known, and below it on one axis each watched series; None without any."""
    if series.empty or windows.empty:
        return None
    end_s = max(float(windows["end_s"].max()), float(series["at_s"].max()))
    panels = [
        _panel(series[series["name"] == name], name, measured, end_s)
        for name in dict.fromkeys(series["name"])
    ]
    if windows["effective_ttft_s_p50"].notna().any():
        panels.insert(0, _latency(windows, measured, end_s))
    return alt.vconcat(*panels, spacing=10).resolve_scale(x="shared", color="independent")


def watched_said(windows: pd.DataFrame, series: pd.DataFrame, measured: dict[str, float]) -> str:
    """Return what each series was at the measured phase's highest TTFT, and its median; "" if unknown."""
    column = "effective_ttft_s_p95"
    if series.empty or windows.empty:
        return ""
    inside = windows[windows["middle_s"].between(measured["from_s"], measured["to_s"])]
    if not inside[column].notna().any():
        return ""
    worst = inside.dropna(subset=[column]).sort_values(column).iloc[-1]
    at_s = float(worst["middle_s"])
    parts = []
    for name, part in series.groupby("name", sort=False):
        mean = part.groupby("at_s")["value"].mean()
        nearest = mean.iloc[(mean.index.to_series() - at_s).abs().argmin()]
        parts.append(f"{name} {plain(float(nearest))} (median {plain(float(mean.median()))})")
    return f"At the highest p95, {seconds(float(worst[column]))} at {seconds(at_s)}: {', '.join(parts)}."


def _lines(frame: pd.DataFrame) -> pd.Series[str]:
    """Return a name for each set of labels: those labels that tell the sets of one series apart."""
    labels = {
        text: dict(each.split("=", 1) for each in text.split(",") if "=" in each)
        for text in frame["labels"].unique()
    }
    told: dict[tuple[str, str, str], str] = {}
    for name, part in frame.groupby("name", sort=False):
        sets = part[["url", "labels"]].drop_duplicates()
        of = [labels[text] for text in sets["labels"]]
        keys = [
            key
            for key in dict.fromkeys(key for each in of for key in each)
            if key not in LEFT_OUT and len({each.get(key) for each in of}) > 1
        ]
        several = sets["url"].nunique() > 1
        for (url, text), each in zip(sets.itertuples(index=False), of, strict=True):
            words = [f"{key} {each.get(key, '–')}" for key in keys]
            words += [url.split("://")[-1].split("/")[0]] if several else []
            told[str(name), url, text] = ", ".join(words) or str(name)
        mine = [(str(name), url, text) for url, text in sets.itertuples(index=False)]
        if len({told[key] for key in mine}) < len(mine):
            # What is left out was all that told some of them apart.
            told |= {key: f"{key[2]}, {key[1]}" if several else key[2] for key in mine}
    return pd.Series(
        [told[key] for key in zip(frame["name"], frame["url"], frame["labels"], strict=True)],
        index=frame.index,
    )


def _rated(part: pd.DataFrame) -> pd.DataFrame:
    """Return a counter as what came on each second; after a restart, nothing for that step."""
    part = part.sort_values("at_s")
    if not part["is_counter"].any():
        return part
    rates = part["value"].diff() / part["at_s"].diff()
    return part.assign(value=rates.where(rates >= 0), name=part["name"] + " a second").dropna(
        subset=["value"]
    )


def _thinned(part: pd.DataFrame) -> pd.DataFrame:
    by = -(-len(part) // POINTS_MAX)
    if by <= 1:
        return part[["at_s", "name", "line", "value"]]
    groups = pd.Series(range(len(part)), index=part.index) // by
    means = part.groupby(groups).agg(at_s=("at_s", "mean"), value=("value", "mean"))
    return means.assign(name=part["name"].iloc[0], line=part["line"].iloc[0])


def _liveliest(part: pd.DataFrame) -> pd.DataFrame:
    spread = part.groupby("line", sort=False)["value"].agg(lambda values: values.max() - values.min())
    kept = set(spread.sort_values(ascending=False, kind="stable").index[:LINES_MAX])
    return part[part["line"].isin(kept)]


def _x(end_s: float) -> alt.X:
    axis = time_axis()
    axis.scale = alt.Scale(nice=False, domain=[0.0, end_s])
    return axis


def _latency(windows: pd.DataFrame, measured: dict[str, float] | None, end_s: float) -> Any:
    rows = long_form(windows, {"effective_ttft_s_p50": "p50", "effective_ttft_s_p95": "p95"}, value="seconds")
    colors = alt.Scale(domain=["p50", "p95"], range=[palette.OUTPUT, palette.RUNS[1]])
    lines = (
        alt.Chart(rows)
        .mark_line(clip=True)
        .encode(
            x=_x(end_s),
            y=alt.Y(
                "seconds:Q",
                title="effective TTFT",
                axis=alt.Axis(labelExpr=SPAN, values=span_ticks(float(rows["seconds"].max()))),
            ),
            color=alt.Color("series:N", scale=colors, legend=alt.Legend(title=None, symbolType="stroke")),
            tooltip=[
                "series:N",
                alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"),
                alt.Tooltip("seconds:Q", title="effective TTFT (s)", format=",.4~r"),
            ],
        )
    )
    return alt.layer(lines, *phases(measured)).properties(width=PLOT_PX, height=HEIGHT_PX)


def _panel(part: pd.DataFrame, name: str, measured: dict[str, float] | None, end_s: float) -> Any:
    lines = list(dict.fromkeys(part["line"]))
    legend = alt.Legend(title=None, symbolType="stroke", columns=4) if len(lines) > 1 else None
    colors = alt.Scale(domain=lines, range=[palette.RUNS[at % len(palette.RUNS)] for at in range(len(lines))])
    drawn = (
        alt.Chart(part)
        .mark_line(clip=True)
        .encode(
            x=_x(end_s),
            y=alt.Y(
                "value:Q",
                title=None,
                axis=alt.Axis(labelExpr=TOKENS, tickCount=4),
                scale=alt.Scale(zero=True),
            ),
            color=alt.Color("line:N", scale=colors, legend=legend),
            tooltip=[
                "line:N",
                alt.Tooltip("at_s:Q", title="time (s)", format=",.1f"),
                alt.Tooltip("value:Q", title=name, format=",.5~r"),
            ],
        )
    )
    layers = alt.layer(drawn, *(phases(measured)[:1]))
    return layers.properties(width=PLOT_PX, height=HEIGHT_PX, title=name)
