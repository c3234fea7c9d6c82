"""The points of a sweep as rows: what was changed, and one figure of what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from swarm.config.experiment import Experiment
from swarm.config.figures import FIGURES
from swarm.config.sweep import EconomicsConfig, SweepChartConfig, SweepConfig

SECONDS_PER_HOUR = 3600.0
TOKENS_PRICED = 1e6
ZONES = {"A": "loses money", "B": "breaks even", "C": "earns"}


@dataclass(frozen=True, slots=True)
class PointResult:
    """What came of one point; `error` is None where it has a summary."""

    name: str
    changes: dict[str, Any]
    labels: dict[str, str]
    summary: dict[str, Any] | None
    derived: dict[str, Any]
    error: str | None


def gpus(experiment: Experiment) -> int:
    """Return how many GPUs the fleet is made of; expert parallelism spreads over the same ones."""
    return sum(
        group.count * group.parallelism.tp * group.parallelism.pp * group.parallelism.dp
        for group in experiment.fleet.replicas
    )


def derived(
    experiment: Experiment, summary: Mapping[str, Any], economics: EconomicsConfig | None
) -> dict[str, Any]:
    """Return figures that a summary does not hold: rates by GPU and, with prices, what serving earns."""
    count = gpus(experiment)
    output_per_s = summary["throughput"]["output_tokens_per_s"]
    found: dict[str, Any] = {"per_gpu": {"gpus": count, "output_tokens_per_s": _over(output_per_s, count)}}
    if economics is None:
        return found
    cost_per_s = economics.gpu_hour * count / SECONDS_PER_HOUR
    revenue_per_s = _revenue_per_s(summary, economics)
    ratio = None if revenue_per_s is None else revenue_per_s / cost_per_s
    found["money"] = {
        "cost_per_hour": cost_per_s * SECONDS_PER_HOUR,
        "revenue_per_hour": None if revenue_per_s is None else revenue_per_s * SECONDS_PER_HOUR,
        "revenue_per_cost": ratio,
        "cost_per_mtok_output": _over(cost_per_s * TOKENS_PRICED, output_per_s),
        "zone": None if ratio is None else zone(ratio, economics),
    }
    return found


def zone(revenue_per_cost: float, economics: EconomicsConfig) -> str:
    """Return A where serving loses money, C where it earns, B between."""
    low, high = economics.break_even
    return "A" if revenue_per_cost < low else "C" if revenue_per_cost > high else "B"


def _revenue_per_s(summary: Mapping[str, Any], economics: EconomicsConfig) -> float | None:
    tokens, prices, duration_s = summary["tokens"], economics.prices, summary["duration_s"]
    if tokens["cached"] is None or not duration_s:
        return None
    total = (
        tokens["computed"] * prices.input_per_mtok
        + tokens["cached"] * prices.cache_read_per_mtok
        + tokens["output"] * prices.output_per_mtok
    )
    return float(total / TOKENS_PRICED / duration_s)


def _over(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def figure(point: PointResult, dotted: str) -> Any:
    """Return a figure of a point by its dotted name, or None where there is none."""
    at: Any = _told(point)
    for key in dotted.split("."):
        at = at.get(key) if isinstance(at, Mapping) else None
    return at


def unobserved(points: Sequence[PointResult], dotted: str) -> str | None:
    """Return that no point observed a figure, and the nearest figures that some did; None where one did."""
    if any(_is_number(figure(point, dotted)) for point in points):
        return None
    seen = list(dict.fromkeys(name for point in points for name in _numbers(_told(point))))
    group = dotted
    while group:
        group = group.rpartition(".")[0]
        beside = _below(group, seen)
        if beside:
            where = f"{group} holds" if group else "their figures begin with"
            return f"No point observed {dotted}; {where} {', '.join(beside)}."
    return f"No point observed {dotted}, nor any other figure."


def _below(group: str, names: Sequence[str]) -> list[str]:
    """Return what follows a group in dotted names; the empty group is all of them, but no run's identity."""
    if not group:
        return [name for name in dict.fromkeys(name.split(".")[0] for name in names) if name in FIGURES]
    lead = f"{group}."
    return list(dict.fromkeys(n.removeprefix(lead).split(".")[0] for n in names if n.startswith(lead)))


def _told(point: PointResult) -> dict[str, Any]:
    return {**(point.summary or {}), **point.derived}


def _numbers(told: Mapping[str, Any], lead: str = "") -> Iterator[str]:
    """Yield the dotted names of all numbers."""
    for key, value in told.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{lead}{key}.")
        elif _is_number(value):
            yield f"{lead}{key}"


def is_cost(dotted: str) -> bool:
    """Return whether a figure is better when it is low: a latency, a price, a loss."""
    first = dotted.split(".")[0]
    is_waste = ".lost_to." in dotted or dotted.startswith(("money.cost", "cache.reprefill"))
    return first.endswith("_s") or is_waste


def frame(points: Sequence[PointResult], sweep: SweepConfig, chart: SweepChartConfig) -> pd.DataFrame:
    """Return one row for each place of a chart: x, curve and column, with mean, least and most over seeds."""
    x_key = chart.x or sweep.x_key
    rest = [key for key in sweep.grid if key not in (x_key, chart.columns)]
    series_keys = [chart.series] if chart.series is not None else rest
    is_number = all(_is_number(value) for value in sweep.grid.get(x_key, (0,)))
    rows = []
    for order, point in enumerate(points):
        y = figure(point, chart.y)
        if not _is_number(y):
            continue
        rows.append(
            {
                "x": point.changes[x_key] if is_number else point.labels[x_key],
                "series": " · ".join(point.labels[key] for key in series_keys) or "all",
                "column": point.labels[chart.columns] if chart.columns is not None else "",
                "y": float(y),
                "zone": figure(point, "money.zone") or "",
                "order": order,
            }
        )
    if not rows:
        return pd.DataFrame(columns=["x", "series", "column", "y", "low", "high", "zone", "order"])
    table = pd.DataFrame(rows)
    grouped = table.groupby(["column", "series", "x"], sort=False)
    joined = grouped.agg(
        y=("y", "mean"),
        low=("y", "min"),
        high=("y", "max"),
        zone=("zone", _commonest),
        order=("order", "min"),
    )
    return joined.reset_index().sort_values("order", kind="stable").reset_index(drop=True)


def _commonest(zones: pd.Series[str]) -> str:
    names, counts = np.unique(zones.to_numpy(dtype=str), return_counts=True)
    return str(names[counts.argmax()])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
