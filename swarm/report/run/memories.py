"""The memories over time: how full each tier was, what was read and written, and what writes were dropped."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import pandas as pd
import pyarrow as pa

from swarm.hit_names import TIERS
from swarm.report import palette
from swarm.report.numbers import seconds, share, three
from swarm.report.run.over_time import HEIGHT_PX, Measured, lines, panels, scale_top
from swarm.report.theme import TOKENS
from swarm.units import GIB

POINTS_MAX = 160
"""Points of a line; more looks are joined."""
LOW_PX = 110
DROPPED = "dropped_gib_per_s"
USED = "in use by open requests"
_SUMMED = ("read_bytes", "written_bytes", "dropped_bytes")


def memory_rows(table: pa.Table | None) -> pd.DataFrame:
    """Return a run's looks at its memories, joined until few enough are left; rates in GiB a second."""
    if table is None or not table.num_rows:
        return pd.DataFrame()
    frame: pd.DataFrame = table.to_pandas()
    by = math.ceil(frame["end_s"].nunique() / POINTS_MAX)
    frame["group"] = frame.groupby("tier").cumcount() // by
    joined: pd.DataFrame = frame.groupby(["tier", "group"], as_index=False, sort=False).agg(
        start_s=("start_s", "first"),
        end_s=("end_s", "last"),
        capacity_bytes=("capacity_bytes", "last"),
        held_bytes=("held_bytes", "last"),
        used_bytes=("used_bytes", "last"),
        **{name: (name, "sum") for name in _SUMMED},
    )
    joined["at_s"] = joined["end_s"]
    span_s = joined["end_s"] - joined["start_s"]
    for name in _SUMMED:
        joined[name.replace("_bytes", "_gib_per_s")] = joined[name] / span_s / GIB
    joined["held"] = joined["held_bytes"] / joined["capacity_bytes"]
    joined["used"] = joined["used_bytes"] / joined["capacity_bytes"]
    return joined


def memories(rows: pd.DataFrame, windows: pd.DataFrame, measured: Measured) -> Any:
    """Return occupancy, bandwidth and dropped writes of each tier; of a foreign server its KV memory."""
    if rows.empty:
        return _server_use(windows, measured)
    drawn = [_occupancy(rows, measured), _bandwidth(rows, measured), _dropped(rows, measured)]
    found = [each for each in drawn if each is not None]
    return panels(*found) if found else None


def memories_told(rows: pd.DataFrame) -> str:
    """Return which tier was full from when on, and what was dropped most."""
    if rows.empty:
        return ""
    full, most, said = [], [], []
    for tier in TIERS:
        of_tier = rows[rows["tier"] == tier]
        filled = of_tier[of_tier["held"] >= FULL_SHARE]
        if not filled.empty:
            first = seconds(float(filled["at_s"].iloc[0]))
            stays = filled["at_s"].iloc[0] >= of_tier["at_s"].iloc[len(of_tier) - len(filled)]
            full.append(f"{tier} from {first} on" if stays else f"{tier} at times, first {first} in")
        elif of_tier["held"].notna().any():
            most.append(f"{tier} to {share(float(of_tier['held'].max()))}")
    said += [f"Full: {', '.join(full)}."] if full else []
    said += [f"Filled at most: {', '.join(most)}."] if most else []
    sums = rows.groupby("tier")[["dropped_bytes", "written_bytes"]].sum()
    said += [
        f"Writes to {tier}: {three(sum_['dropped_bytes'] / GIB)} GiB were dropped, "
        f"{three(sum_['written_bytes'] / GIB)} GiB ended."
        for tier, sum_ in sums.iterrows()
        if sum_["dropped_bytes"]
    ]
    return " ".join(said)


FULL_SHARE = 0.98
"""Of a tier's capacity."""


def _occupancy(rows: pd.DataFrame, measured: Measured) -> Any:
    limited = rows[rows["held"].notna()]
    found = [_series(limited, tier, "held", tier) for tier in TIERS]
    if "hbm" in set(limited["tier"]):
        found.append(_series(limited, "hbm", "used", f"hbm, {USED}"))
    y = alt.Y(
        "value:Q", title="held", axis=alt.Axis(format=".0%", tickCount=5), scale=alt.Scale(domain=[0, 1])
    )
    tip = alt.Tooltip("value:Q", title="held", format=".1%")
    if limited.empty:
        found = [_series(rows.assign(gib=rows["held_bytes"] / GIB), tier, "gib", tier) for tier in TIERS]
        y = alt.Y("value:Q", title="GiB held", axis=alt.Axis(labelExpr=TOKENS, tickCount=5))
        tip = alt.Tooltip("value:Q", title="held (GiB)", format=",.3~r")
    colors = {**palette.TIERS, f"hbm, {USED}": palette.CACHED}
    return _lines(found, y, colors, measured, tip, HEIGHT_PX)


def _bandwidth(rows: pd.DataFrame, measured: Measured) -> Any:
    found, colors = [], {}
    for tier in TIERS[1:]:
        for way, lighter in (("read", False), ("written", True)):
            name = f"{tier} {way}"
            found.append(_series(rows, tier, f"{way}_gib_per_s", name))
            colors[name] = palette.WRITTEN[tier] if lighter else palette.TIERS[tier]
    return _rates(found, colors, measured, "GiB per second")


def _dropped(rows: pd.DataFrame, measured: Measured) -> Any:
    found = [_series(rows, tier, DROPPED, f"{tier} dropped") for tier in TIERS]
    colors = {f"{tier} dropped": palette.TIERS[tier] for tier in TIERS}
    return _rates(found, colors, measured, "GiB/s dropped")


def _rates(found: list[pd.DataFrame], colors: dict[str, str], measured: Measured, title: str) -> Any:
    """Return the lines that are not 0 all along."""
    moved = [each for each in found if not each.empty and each["value"].max() > 0]
    if not moved:
        return None
    top = scale_top(pd.concat(moved), "value", measured)
    axis = alt.Axis(labelExpr=TOKENS, tickCount=4)
    y = alt.Y("value:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, top]))
    return _lines(moved, y, colors, measured, alt.Tooltip("value:Q", title=title, format=",.3~r"), LOW_PX)


def _series(rows: pd.DataFrame, tier: str, column: str, name: str) -> pd.DataFrame:
    part = rows[rows["tier"] == tier]
    return pd.DataFrame({"at_s": part["at_s"], "value": part[column], "series": name}).dropna()


def _lines(
    found: list[pd.DataFrame],
    y: alt.Y,
    colors: dict[str, str],
    measured: Measured,
    tip: alt.Tooltip,
    height: int,
) -> Any:
    rows = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    if rows.empty:
        return None
    there = set(rows["series"])
    kept = {name: color for name, color in colors.items() if name in there}
    return lines(rows, y, kept, measured, tip=tip, height=height)


def _server_use(windows: pd.DataFrame, measured: Measured) -> Any:
    if "server_kv_use" not in windows or not windows["server_kv_use"].notna().any():
        return None
    rows = windows.assign(at_s=windows["middle_s"], tier="hbm")
    y = alt.Y("value:Q", title="in use", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    name = "KV memory in use, mean of all engines"
    found = [_series(rows, "hbm", "server_kv_use", name)]
    tip = alt.Tooltip("value:Q", title="in use", format=".1%")
    return _lines(found, y, {name: palette.TIERS["hbm"]}, measured, tip, HEIGHT_PX)
