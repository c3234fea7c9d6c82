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

POINTS_MAX, POINTS_LEAST = 240, 48
FINISHED_LEAST = 12
"""Requests that a point of a line should have on average: shares and quantiles of fewer jump."""
SERVER = ("server_running", "server_waiting", "server_kv_use")
"""What a target's gauges said, where it has any."""
SHARES = {"p50": 0.5, "p95": 0.95}


def over_time(folder: RunFolder) -> pd.DataFrame:
    """Return the run's windows, joined until at most `POINTS_MAX` are left; quantiles of joined sketches."""
    return over_time_of(folder.windows(), finished_least=FINISHED_LEAST)


def over_time_of(table: pa.Table, *, finished_least: int = 0) -> pd.DataFrame:
    """Return a table as `measure.series` makes them likewise; a point has so many requests on average."""
    is_whole = pc.and_(pc.is_null(table.column("host")), pc.is_null(table.column("endpoint")))
    whole = table.filter(is_whole)
    # Plain lists: a frame for each group costs a live page more than all that it shows.
    columns = {name: whole.column(name).to_pylist() for name in whole.column_names}
    by = _joined_each(columns["finished"], whole.num_rows, finished_least)
    return pd.DataFrame(
        [
            _joined({name: values[at : at + by] for name, values in columns.items()})
            for at in range(0, whole.num_rows, by)
        ]
    )


def _joined_each(finished: list[int], count: int, finished_least: int) -> int:
    """Return how many windows are joined to one: as many as are too many, or have too few requests each."""
    most = count / POINTS_MAX
    few = finished_least * count / max(1, sum(finished))
    return max(1, math.ceil(max(most, min(few, count / POINTS_LEAST))))


def _joined(part: Mapping[str, list[Any]]) -> dict[str, Any]:
    # Windows count from the measured phase: the first of all may begin before the run did.
    start_s, end_s = max(0.0, float(part["start_s"][0])), float(part["end_s"][-1])
    span_s = end_s - start_s
    total = {name: sum(part[name]) for name in COUNTS}
    record: dict[str, Any] = {"start_s": start_s, "end_s": end_s, "middle_s": (start_s + end_s) / 2}
    record |= {level: _mean(part[f"{level}_mean"]) for level in LEVELS}
    record |= {
        "requests_per_s": total["finished"] / span_s,
        "failed_per_s": total["failed"] / span_s,
        "prompt_tokens_per_s": total["prompt_tokens"] / span_s,
        "computed_tokens_per_s": (total["known_prompt_tokens"] - total["cached_tokens"]) / span_s,
        "output_tokens_per_s": total["output_tokens"] / span_s,
        "hit_rate": _ratio(total["cached_tokens"], total["known_prompt_tokens"]),
        "ideal_hit_rate": _ratio(total["ideal_tokens"], total["prompt_tokens"]),
    }
    record |= {name: _mean(part[name]) for name in SERVER if name in part}
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
        # A window without a value would break its line, and leave single points unseen.
        pd.DataFrame(
            {"at_s": frame["middle_s"], value: frame[column].astype(float), "series": label}
        ).dropna()
        for column, label in columns.items()
        if column in frame and frame[column].notna().any()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
