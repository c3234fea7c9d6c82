"""What limits took: agents that waited to be admitted or to try again, over time; and what the run cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from swarm.measure.latency import Floats
from swarm.report import palette
from swarm.report.numbers import plain, seconds, share
from swarm.report.run.over_time import Measured, lines
from swarm.report.run.requests import Requests
from swarm.report.theme import PLOT_PX, TOKENS

Summary = Mapping[str, Any]
POINTS = 120
WAITS = {"to try again (rate limits, failures)": palette.BAD, "for admission": palette.USER}
COST_PARTS = {
    "input": ("input", palette.NEW),
    "cache_write": ("cache writes", palette.COMPACTION),
    "cache_read": ("cache reads", palette.CACHED),
    "output": ("output", palette.OUTPUT),
}


def waiting_rows(requests: Requests, to_s: float) -> pd.DataFrame:
    """Return how many requests waited on average in each stretch of the run, by what for."""
    if to_s <= 0:
        return pd.DataFrame()
    edges = np.linspace(0.0, to_s, POINTS + 1)
    intended, due = requests.number("intended_s"), requests.number("due_s")
    admission, retry = requests.number("admission_wait_s"), requests.number("retry_wait_s")
    names = list(WAITS)
    found = {
        names[0]: _mean_open(due - retry, due, edges),
        names[1]: _mean_open(intended, intended + admission, edges),
    }
    middle = (edges[1:] + edges[:-1]) / 2
    parts = [
        pd.DataFrame({"at_s": middle, "waiting": values.round(3), "series": name})
        for name, values in found.items()
        if values.max() > 0
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def waiting_over_time(rows: pd.DataFrame, measured: Measured) -> Any:
    """Return the waiting requests as lines."""
    if rows.empty:
        return None
    y = alt.Y("waiting:Q", title="requests waiting", axis=alt.Axis(labelExpr=TOKENS, tickCount=5))
    there = set(rows["series"])
    colors = {name: color for name, color in WAITS.items() if name in there}
    return lines(
        rows, y, colors, measured, tip=alt.Tooltip("waiting:Q", title="requests that wait", format=",.2f")
    )


def waiting_told(summary: Summary) -> str:
    """Return how much of their time agents were rate-limited."""
    found = summary.get("rate_limited") or {}
    if not found.get("requests"):
        return ""
    text = f"{found['requests']:,} requests waited {seconds(found['waited_s'])} in all to try again"
    if found.get("share_of_time") is not None:
        text += f": {share(found['share_of_time'])} of the agents' time"
    return f"{text}; {found['gave_up']:,} gave up on a 429." if found.get("gave_up") else f"{text}."


def cost(summary: Summary) -> Any:
    """Return one bar: what the finished requests cost, by part."""
    found = summary.get("cost")
    if not found or not found.get("total"):
        return None
    rows = [
        {"part": label, "amount": found[key], "order": at}
        for at, (key, (label, _)) in enumerate(COST_PARTS.items())
        if found.get(key)
    ]
    labels = [row["part"] for row in rows]
    colors = [color for label, color in COST_PARTS.values() if label in labels]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=34)
        .encode(
            x=alt.X(
                "amount:Q", title=str(found["currency"]), stack="zero",
                axis=alt.Axis(format=".3~g", tickCount=6),
                scale=alt.Scale(domain=[0, found["total"]], nice=False),
            ),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=labels, range=colors),
                legend=alt.Legend(title=None, symbolType="square"),
            ),
            order=alt.Order("order:Q"),
            tooltip=["part:N", alt.Tooltip("amount:Q", title=str(found["currency"]), format=",.4~r")],
        )
        .properties(width=PLOT_PX, height=52)
    )  # fmt: skip


def cost_told(summary: Summary) -> str:
    """Return the cost in all, of a session and of a request."""
    found = summary.get("cost")
    if not found or not found.get("total"):
        return ""
    unit = found["currency"]
    known = {label: found[key] for key, (label, _) in COST_PARTS.items() if found.get(key)}
    most = max(known, key=lambda name: known[name])
    return (
        f"{plain(found['total'])} {unit} in all: {plain(found['per_session'])} a session, "
        f"{plain(found['per_request'])} a request; "
        f"most of it, {share(known[most] / found['total'])}, for {most}."
    )


def _mean_open(start: Floats, end: Floats, edges: Floats) -> Floats:
    """Return how many of the stretches [start, end) were open on average between two edges each."""
    keep = end > start
    passed = _passed(start[keep], edges) - _passed(end[keep], edges)
    return np.asarray(np.diff(passed) / np.diff(edges))


def _passed(at: Floats, edges: Floats) -> Floats:
    """Return for each edge the time since all moments before it, summed."""
    at = np.sort(at)
    sums = np.concatenate([[0.0], np.cumsum(at)])
    before = np.searchsorted(at, edges)
    return np.asarray(before * edges - sums[before], dtype=np.float64)
