"""Run folders as frames for charts: the right columns, and no more points than a screen can show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from swarm.measure.sketch import Sketch
from swarm.measure.window import COUNTS, LEVELS
from swarm.records.run_folder import RunFolder
from swarm.report.theme import PLOT_PX

POINTS_MAX = 240
SESSIONS_MAX = 8
BARS_MAX = 3000
"""Requests drawn for one session; of a longer one, the first."""
BAR_PX = (2.0, 14.0)
"""Thinnest and thickest bar of a request."""
SHARES = {"p50": 0.5, "p95": 0.95}

_SESSION_COLUMNS = [
    "session",
    "agent",
    "parent",
    "turn",
    "kind",
    "opened_by",
    "intended_s",
    "sent_s",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "outcome",
]


def sessions(folder: RunFolder) -> pd.DataFrame:
    """Return the finished requests of the longest sessions: by prompt tokens, the first the heaviest.

    `rank` orders the sessions, `label` names one for a reader, `new_tokens` is what the cache did not hold
    (null where the target does not say), `is_user` marks turns that a person's message opened.
    """
    frame: pd.DataFrame = folder.requests(_SESSION_COLUMNS).to_pandas()
    frame = frame[frame["outcome"] == "ok"].copy()
    if frame.empty:
        return frame
    weight = frame.groupby("session")["prompt_tokens"].agg(["size", "sum"])
    chosen = weight.sort_values(["sum", "size"], ascending=False).head(SESSIONS_MAX)
    ranks = {session: rank for rank, session in enumerate(chosen.index)}
    frame = frame[frame["session"].isin(chosen.index)].sort_values(["intended_s", "agent", "turn"])
    frame = frame.groupby("session").head(BARS_MAX)
    frame["rank"] = frame["session"].map(ranks)
    frame["label"] = frame["session"].map(
        {session: f"{session} · {int(row['size'])} requests" for session, row in chosen.iterrows()}
    )
    frame["is_subagent"] = frame["parent"].notna()
    frame["is_user"] = ~frame["is_subagent"] & frame["opened_by"].isin(["human", "start"])
    frame["new_tokens"] = frame["prompt_tokens"] - frame["cached_tokens"]
    frame["bar_px"] = frame.groupby("session")["intended_s"].transform(_bar_px)
    return frame.sort_values(["rank", "intended_s"]).reset_index(drop=True)


def _bar_px(at_s: pd.Series[float]) -> float:
    """Return a bar's width with which most bars of a session stay apart."""
    span_s = at_s.max() - at_s.min()
    if span_s <= 0:
        return BAR_PX[1]
    gap_px = float(at_s.sort_values().diff().quantile(0.3)) / span_s * PLOT_PX
    return min(max(0.8 * gap_px, BAR_PX[0]), BAR_PX[1])


def over_time(folder: RunFolder) -> pd.DataFrame:
    """Return the run's windows, joined until at most `POINTS_MAX` are left; quantiles of joined sketches."""
    return over_time_of(folder.windows())


def over_time_of(table: pa.Table) -> pd.DataFrame:
    """Return a table as `measure.series` makes them likewise."""
    is_whole = pc.and_(pc.is_null(table.column("host")), pc.is_null(table.column("endpoint")))
    whole = table.filter(is_whole)
    # Plain lists: a frame for each group costs a live page more than all that it shows.
    columns = {name: whole.column(name).to_pylist() for name in whole.column_names}
    by = math.ceil(whole.num_rows / POINTS_MAX) or 1
    return pd.DataFrame(
        [
            _joined({name: values[at : at + by] for name, values in columns.items()})
            for at in range(0, whole.num_rows, by)
        ]
    )


def _joined(part: Mapping[str, list[Any]]) -> dict[str, Any]:
    start_s, end_s = float(part["start_s"][0]), float(part["end_s"][-1])
    span_s = end_s - start_s
    total = {name: sum(part[name]) for name in COUNTS}
    record: dict[str, Any] = {"start_s": start_s, "end_s": end_s, "middle_s": (start_s + end_s) / 2}
    record |= {level: _mean(part[f"{level}_mean"]) for level in LEVELS}
    record |= {
        "requests_per_s": total["finished"] / span_s,
        "failed_per_s": total["failed"] / span_s,
        "prompt_tokens_per_s": total["prompt_tokens"] / span_s,
        "output_tokens_per_s": total["output_tokens"] / span_s,
        "hit_rate": _ratio(total["cached_tokens"], total["known_prompt_tokens"]),
        "ideal_hit_rate": _ratio(total["ideal_tokens"], total["prompt_tokens"]),
    }
    for name in ("ttft_s", "effective_ttft_s", "tpot_s", "send_lag_s"):
        known = [data for data in part[f"{name}_sketch"] if data is not None]
        if len(known) == len(part["start_s"]) == 1:
            record |= {f"{name}_{share}": part[f"{name}_{share}"][0] for share in SHARES}
            continue
        sketch = Sketch()
        for data in known:
            sketch.merge(Sketch.from_bytes(data))
        values = sketch.quantiles(tuple(SHARES.values()))
        record |= {f"{name}_{share}": value for share, value in zip(SHARES, values, strict=True)}
    return record


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def long_form(frame: pd.DataFrame, columns: dict[str, str], *, value: str) -> pd.DataFrame:
    """Return one row for each time and series, by the series' names for a reader."""
    parts = [
        pd.DataFrame({"at_s": frame["middle_s"], value: frame[column], "series": label})
        for column, label in columns.items()
        if column in frame and frame[column].notna().any()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
