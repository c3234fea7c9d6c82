"""What an analysis says: its answer in a few sentences, and one sentence for each of its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarm.report.analysis.frames import Row, ttl_label
from swarm.report.numbers import count, plain, seconds, share
from swarm.units import US_PER_S, counted

NEAR = 0.01
"""A hit rate so far below the highest that there is, is as good."""
LONG_GAP_S = 300.0

Analysis = Mapping[str, Any]


def answers(analysis: Analysis, capacity: Sequence[Row], ceiling: float) -> list[str]:
    """Return the answer: what could hit at all, what TTLs and sizes keep of it, what it costs.

    `capacity` has the hit rate of one LRU pool by its size, `ceiling` the hit rate without any limit.
    """
    said = [
        f"{counted(analysis['sessions'], 'session')} with {counted(analysis['requests'], 'request')} and "
        f"{count(analysis['input_tokens'])} input tokens, of which {share(ceiling)} could be read from a "
        "cache without limits",
        ttl(analysis, ceiling),
        size(capacity, ceiling),
        cost(analysis["cost"]),
    ]
    return [text for text in said if text]


def ttl(analysis: Analysis, ceiling: float) -> str:
    """Say what each TTL keeps, up to the first that is as good as none."""
    rows = [row for row in analysis["ttl"] if row["ttl_s"] is not None and row["hit_rate"] is not None]
    shown = []
    for row in sorted(rows, key=lambda row: row["ttl_s"]):
        shown.append(f"{_label(row['ttl_s'])} {share(row['hit_rate'])}")
        if row["hit_rate"] >= ceiling - NEAR:
            break
    return f"Kept for a while after its last use, it hits: {', '.join(shown)}" if shown and ceiling else ""


def size(capacity: Sequence[Row], ceiling: float) -> str:
    """Say which size of one pool is as good as no limit."""
    enough = next((row for row in capacity if row["hit_rate"] >= ceiling - NEAR), None)
    if enough is None or not ceiling:
        return ""
    half = next(row for row in capacity if row["hit_rate"] >= ceiling / 2)
    return (
        f"One LRU pool of {count(enough['capacity_tokens'])} tokens comes within {NEAR:.0%} of no limit; "
        f"{count(half['capacity_tokens'])} tokens give half of its hits"
    )


def cost(costs: Mapping[str, Any]) -> str:
    """Say what the cheapest of the TTLs costs against no cache."""
    rows = [row for row in costs["ttl"] if row["cost"] is not None and row["share_of_uncached"] is not None]
    if not rows:
        return ""
    best = min(rows, key=lambda row: row["cost"])
    return (
        f"At these prices a TTL of {_label(best['ttl_s'])} is the cheapest: "
        f"{plain(best['cost'])} against {plain(costs['uncached'])} without a cache "
        f"({share(best['share_of_uncached'])})"
    )


def remarks(analysis: Analysis, capacity: Sequence[Row], ceiling: float) -> dict[str, str]:
    """Return a sentence for each chart that has one, by the chart's name."""
    said = {
        "working_set": _working_set(analysis),
        "ttl": _computed(analysis),
        "capacity": size(capacity, ceiling),
        "gaps": _gaps(analysis["inter_arrival_s"]),
        "sizes": _sizes(analysis),
        "cost": cost(analysis["cost"]),
    }
    return {name: f"{text}." for name, text in said.items() if text}


def _working_set(analysis: Analysis) -> str:
    rows = analysis["ttl"]
    if not rows:
        return ""
    parts = [f"{_label(row['ttl_s'])} {count(row['working_set_peak_tokens'])}" for row in rows]
    return f"Most tokens held at once: {', '.join(parts)}"


def _computed(analysis: Analysis) -> str:
    rows = [row for row in analysis["ttl"] if row["reprefill_mean"] is not None]
    if not rows:
        return ""
    worst = max(rows, key=lambda row: row["reprefill_mean"])
    if round(worst["reprefill_mean"], 2) <= 1:
        return ""
    return (
        f"With a TTL of {_label(worst['ttl_s'])} a block is computed {plain(worst['reprefill_mean'])} times "
        f"in the mean and {count(worst['reprefill_max'])} times at most, where once would do"
    )


def _gaps(gaps: Mapping[str, Any]) -> str:
    if not gaps["n"]:
        return ""
    return (
        f"Half of an agent's requests follow within {seconds(gaps['p50'])} of the one before, 95 % within "
        f"{seconds(gaps['p95'])}"
    )


def _sizes(analysis: Analysis) -> str:
    inputs, outputs = analysis["input_tokens_per_request"], analysis["output_tokens_per_request"]
    return (
        f"The median request has {count(inputs['p50'])} input tokens and {count(outputs['p50'])} output "
        f"tokens; one in a hundred more than {count(inputs['p99'])} and {count(outputs['p99'])}"
    )


def _label(ttl_s: float | None) -> str:
    return ttl_label(None if ttl_s is None else round(ttl_s * US_PER_S))
