"""The key figures of a summary, in words: one list for the terminal, the page and comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from swarm.measure.intervals import supports
from swarm.report.numbers import UNKNOWN, count, plain, rate, seconds, share

Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a summary by its path, and how it is shown."""

    label: str
    path: tuple[str, ...]
    show: Callable[[float | None], str]
    better: int
    """1 when more is better, -1 when less is, 0 when neither."""

    def value(self, summary: Summary) -> float | None:
        """Return the number, or None where it was not observed."""
        at: Any = summary
        for key in self.path:
            if at is None:
                return None
            at = at.get(key)
        return at if isinstance(at, int | float) else None

    def text(self, summary: Summary) -> str:
        """Return the number as it is shown."""
        return self.show(self.value(summary))


GROUPS: dict[str, tuple[Figure, ...]] = {
    "Load": (
        Figure("Measured for", ("duration_s",), seconds, 0),
        Figure("Sessions asked for, mean", ("load", "sessions_asked_mean"), plain, 0),
        Figure("Sessions alive, mean", ("load", "sessions_live_mean"), plain, 0),
        Figure("Agents, mean", ("live_agents_mean",), plain, 0),
        Figure("Agents, peak", ("agents", "peak_concurrent"), count, 0),
        Figure("In flight, mean", ("open_requests_mean",), plain, 0),
        Figure("Requests", ("throughput", "requests_per_s"), partial(rate, unit="/s"), 1),
        Figure("Prompt", ("throughput", "prompt_tokens_per_s"), partial(rate, unit="tok/s"), 1),
        Figure("Output", ("throughput", "output_tokens_per_s"), partial(rate, unit="tok/s"), 1),
    ),
    "Requests": (
        Figure("Sent", ("requests", "sent"), count, 0),
        Figure("Finished", ("requests", "finished"), count, 0),
        Figure("Failed", ("requests", "failed"), count, -1),
        Figure("Interrupted", ("requests", "interrupted"), count, 0),
        Figure("Attempts", ("requests", "attempts"), count, 0),
        Figure("Sessions", ("sessions", "started"), count, 0),
        Figure("Sub-agents", ("agents", "subagents"), count, 0),
    ),
    "Cache": (
        Figure("Hit rate", ("cache", "hit_rate"), share, 1),
        Figure("Ideal hit rate", ("cache", "ideal_hit_rate"), share, 0),
        Figure("Prefills per block, whole run", ("cache", "reprefill_mean"), plain, -1),
        Figure("Prompt", ("tokens", "prompt"), count, 0),
        Figure("Cached", ("tokens", "cached"), count, 0),
        Figure("Computed", ("tokens", "computed"), count, 0),
        Figure("Rewritten", ("tokens", "rewritten"), count, 0),
    ),
}

LATENCY_ROWS = {
    "effective_ttft_s": "Effective TTFT",
    "ttft_s": "TTFT on the wire",
    "tpot_s": "Time per output token",
    "itl_s": "Gap between deltas",
    "e2e_s": "Whole turn",
    "admission_wait_s": "Admission wait",
    "send_lag_s": "Send lag",
    "loop_lag_s": "Event-loop lag",
}
LATENCY_COLUMNS = ("n", "mean", "p50", "p90", "p95", "p99", "max")
FEW = "too few"
"""In place of a percentile that so few observations do not have."""


def latency_table(summary: Summary) -> list[tuple[str, list[str]]]:
    """Return the rows of the latency table that hold something."""
    rows = []
    for key, label in LATENCY_ROWS.items():
        values = summary.get(key) or {}
        if any(values.get(column) is not None for column in LATENCY_COLUMNS[1:]):
            rows.append((label, [_latency(values, column) for column in LATENCY_COLUMNS]))
    return rows


def _latency(values: Summary, column: str) -> str:
    number, value = values.get("n"), values.get(column)
    if column == "n":
        return count(number)
    if column.startswith("p") and value is not None and number is not None:
        return seconds(value) if supports(number, float(column[1:]) / 100) else FEW
    return seconds(value)


def objective_value(objective: Summary) -> str:
    """Return an objective's value, where there are observations enough to have it."""
    number = objective.get("count")
    is_quantile = objective.get("of") == "requests"
    if is_quantile and number is not None and not supports(number, objective["quantile"]):
        return FEW
    return amount(objective, objective["value"])


def good(objective: Summary) -> str:
    """Return which share of the requests due was good, failed ones included, and which had to be."""
    if objective.get("good_share") is None:
        return UNKNOWN
    return f"{share(objective['good_share'])} of {share(objective['required_share'])}"


def percent(value: float | None) -> str:
    """Return a share in whole percent."""
    return UNKNOWN if value is None or math.isinf(value) else f"{value * 100:.0f} %"


def budget(objective: Summary) -> str:
    """Return how much of the misses that an objective allows have happened: above 100 % it is missed."""
    return f"{percent(objective.get('burn'))} of those allowed" if objective.get("burn") is not None else ""


def amount(objective: Summary, value: float | None) -> str:
    """Return an objective's value or bound in its unit."""
    if value is None:
        return UNKNOWN
    match objective.get("unit", "s"):
        case "s":
            return seconds(value)
        case "share":
            return share(value)
        case unit:
            return f"{value:.4g} {unit}"


def used(objective: Summary) -> float | None:
    """Return how much of an objective's bound is used: 1 is all of it."""
    value, target = objective["value"], objective["target"]
    if value is None or not target:
        return None
    if objective.get("is_floor"):
        return float(target / value) if value else math.inf
    return float(value / target)


def bound(summary: Summary) -> str | None:
    """Return what bounds a run, and how busy all else was; None where nothing is known."""
    saturation = summary.get("saturation")
    if not saturation:
        return None
    resources = [each for each in saturation["resources"] if each["share"] is not None]
    if not resources:
        return None
    shares = ", ".join(
        f"{each['name']} {percent(each['share'])}"
        for each in sorted(resources, key=lambda each: -each["share"])
    )
    name = saturation["bound_by"]
    if name is None:
        return f"nothing was full: {shares}"
    (told,) = [each["told"] for each in resources if each["name"] == name]
    return f"bound by {name} ({told}): {shares}"
