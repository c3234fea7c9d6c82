"""TTFT by prompt length, coloured by how much of the prompt was cached: requests counted in cells."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from swarm.report.charts import spread
from swarm.report.numbers import count, seconds
from swarm.report.run.requests import Requests
from swarm.report.theme import PLOT_PX, SPAN, TOKENS, log_span_ticks, log_ticks

ACROSS, UP = 48, 26
"""Cells of the plane."""
HEIGHT_PX = 260
TTFT_S_MIN = 1e-4
"""What is faster stands here: an axis by decades has no place for nothing."""
LEAST_TOLD = 5
"""Requests on either side that a sentence needs."""


def length_cells(requests: Requests) -> pd.DataFrame:
    """Return the cells of finished requests of the measured phase: prompt, TTFT, share cached, how many."""
    prompt, ttft_s, cached = _values(requests)
    if not len(prompt):
        return pd.DataFrame()
    ttft_s = np.maximum(ttft_s, TTFT_S_MIN)
    columns, rows = _cells(prompt, ACROSS), _cells(ttft_s, UP)
    _, place = np.unique(columns * UP + rows, return_inverse=True)
    number = np.bincount(place)
    known = ~np.isnan(cached)
    of_known = np.bincount(place, weights=np.where(known, prompt, 0.0))
    hit = np.bincount(place, weights=np.nan_to_num(cached))
    return pd.DataFrame(
        {
            "prompt_tokens": np.exp(np.bincount(place, weights=np.log(prompt)) / number).round(0),
            "ttft_s": np.exp(np.bincount(place, weights=np.log(ttft_s)) / number).round(6),
            "hit": np.where(of_known > 0, hit / np.where(of_known > 0, of_known, 1.0), np.nan).round(4),
            "requests": number,
        }
    )


def ttft_by_length(cells: pd.DataFrame) -> Any:
    """Return the cells as circles on logarithmic axes."""
    if len(cells) < 2:
        return None
    x_ticks = log_ticks(*spread(cells["prompt_tokens"]))
    y_ticks = log_span_ticks(*spread(cells["ttft_s"]))
    scale = alt.Scale(type="log", nice=False, padding=12)
    color: Any = alt.value("#4a78c9")
    if cells["hit"].notna().any():
        legend = alt.Legend(title="cached", format=".0%", gradientLength=160)
        color = alt.Color(
            "hit:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1], reverse=True), legend=legend
        )
    return (
        alt.Chart(cells)
        .mark_circle(opacity=0.85)
        .encode(
            x=alt.X(
                "prompt_tokens:Q",
                title="prompt tokens",
                scale=scale,
                axis=alt.Axis(labelExpr=TOKENS, values=x_ticks),
            ),
            y=alt.Y("ttft_s:Q", title="TTFT", scale=scale, axis=alt.Axis(labelExpr=SPAN, values=y_ticks)),
            color=color,
            size=alt.Size(
                "requests:Q",
                scale=alt.Scale(type="sqrt", range=[14, 170]),
                legend=alt.Legend(title="requests", format=",d", values=_sizes(int(cells["requests"].max()))),
            ),
            tooltip=[
                alt.Tooltip("requests:Q", format=","),
                alt.Tooltip("prompt_tokens:Q", title="prompt (tokens)", format=","),
                alt.Tooltip("ttft_s:Q", title="TTFT (s)", format=",.4~r"),
                alt.Tooltip("hit:Q", title="cached", format=".1%"),
            ],
        )
        .properties(width=PLOT_PX, height=HEIGHT_PX)
    )


def _sizes(most: int) -> list[int]:
    """Return the counts that a legend shows circles of."""
    return sorted({1, max(1, most // 4), most})


def lengths_told(requests: Requests) -> str:
    """Return what hits were worth to the longer half of the prompts."""
    prompt, ttft_s, cached = _values(requests)
    if not len(prompt):
        return ""
    middle = float(np.median(prompt))
    is_long = prompt >= middle
    hit = cached / prompt
    sides = [ttft_s[is_long & (hit >= 0.5)], ttft_s[is_long & (hit < 0.5)]]
    if any(len(side) < LEAST_TOLD for side in sides):
        return ""
    warm, cold = (float(np.median(side)) for side in sides)
    return (
        f"Of prompts of {count(middle)} tokens and more, those at least half cached had their first token "
        f"after {seconds(warm)} (median), the others after {seconds(cold)}."
    )


def _values(requests: Requests) -> tuple[Any, Any, Any]:
    prompt = requests.number("prompt_tokens")
    ttft_s = requests.number("first_token_s") - requests.number("sent_s")
    keep = requests.is_("outcome", "ok") & requests.measured & (prompt > 0) & (ttft_s >= 0)
    return prompt[keep], ttft_s[keep], requests.number("cached_tokens")[keep]


def _cells(values: Any, count: int) -> Any:
    """Return each value's cell among so many, all of them as wide on a logarithmic axis."""
    logs = np.log(values)
    least, most = logs.min(), logs.max()
    wide = (most - least) / count or 1.0
    return np.minimum((logs - least) // wide, count - 1).astype(np.int64)
