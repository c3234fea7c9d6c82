"""What a provider said of its cache, and where an analysis' figures come from, as tables of text.

The terminal and the page show the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from swarm.report.numbers import count, plain, seconds, share

STAYS_HERE = "Nothing of this leaves the machine: logs are read here, and no network is used."
_ROWS_MAX = 12
_GAPS = {0.0: "up to 1 min", 60.0: "1 to 5 min", 300.0: "5 to 60 min", 3600.0: "over 60 min"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A table: its title, its head, and its rows as text."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def answers(analysis: dict[str, Any]) -> list[str]:
    """Return the first sentences: the hit rate, what was paid, what each TTL would have cost."""
    recorded = analysis["recorded"]
    if recorded is None:
        return []
    paid = recorded["paid"]
    writes = ", ".join(
        f"{count(row['tokens'])} for {'no stated time' if row['ttl_s'] is None else seconds(row['ttl_s'])}"
        for row in recorded["written_by_ttl"]
    )
    lines = [
        f"Hit rate {share(recorded['hit_rate'])}: {count(recorded['read_tokens'])} of "
        f"{count(recorded['input_tokens'])} input tokens were read from the provider's cache",
        f"Written to it: {writes}; paid {share(paid['share_of_uncached'])} of the price without a cache",
    ]
    would = [
        f"{seconds(row['ttl_s'])} {share(row['share_of_uncached'])}"
        for row in analysis["cost"]["ttl"]
        if row["ttl_s"] and row["share_of_uncached"] is not None
    ]
    if would:
        lines.append(f"The same requests with one TTL throughout would cost: {', '.join(would)}")
    if recorded["prefill_amplification"] is not None:
        lines.append(
            f"Each token that no cache could have held was computed "
            f"{plain(recorded['prefill_amplification'])} times"
        )
    return lines


def tables(analysis: dict[str, Any]) -> Iterator[Shown]:
    """Yield the tables of what was recorded."""
    recorded = analysis["recorded"]
    if recorded is None:
        return
    counts = ("requests", "input", "hit rate")
    gaps = [
        (
            row["opened_by"],
            _gap(row["gap_s"]),
            count(row["requests"]),
            count(row["input_tokens"]),
            share(row["hit_rate"]),
        )
        for row in recorded["by_gap"]
    ]
    yield Shown("Recorded hits by the gap before a request", ("opened by", "gap", *counts), gaps)
    for name, title in (("project", "project"), ("model", "model"), ("kind", "kind of agent")):
        rows = recorded[f"by_{name}"]
        if len(rows) > 1:
            yield _by(name, title, rows, recorded["paid"]["cost"])


def _by(name: str, title: str, rows: list[dict[str, Any]], total: float) -> Shown:
    shown = [
        (
            row[name] or "(not said)",
            count(row["sessions"]),
            count(row["requests"]),
            count(row["input_tokens"]),
            share(row["hit_rate"]),
            share(row["cost"] / total if total else None),
        )
        for row in rows[:_ROWS_MAX]
    ]
    left = len(rows) - len(shown)
    if left:
        shown.append(
            (f"{left} more", "", "", "", "", share(sum(row["cost"] for row in rows[_ROWS_MAX:]) / total))
        )
    return Shown(
        f"Recorded, by {title}",
        (title, "sessions", "requests", "input", "hit rate", "share of cost"),
        shown,
    )


def waits(analysis: dict[str, Any]) -> Shown | None:
    """Return how long requests waited for tools, people and notices."""
    columns: tuple[tuple[str, Callable[[Any], str]], ...] = (
        ("n", count),
        *((name, seconds) for name in ("mean", "p50", "p90", "p99", "max")),
    )
    rows = [
        (name.removesuffix("_s"), *(show(row[column]) for column, show in columns))
        for name, row in analysis["waits"].items()
        if row["n"]
    ]
    if analysis["recorded"] is None or not rows:
        return None
    return Shown("Waits before a request", ("waited for", *(name for name, _ in columns)), rows)


def provenance(analysis: dict[str, Any]) -> Iterator[Shown]:
    """Yield for each source what was read, what of it is inferred, and what the source lacks."""
    for source, told in analysis["provenance"]["sources"].items():
        rows = [
            (f"{name}: {sentence}", count(number))
            for name in ("read", "inferred", "missing")
            for sentence, number in sorted(told[name].items(), key=lambda item: -item[1])
        ]
        identity = told["identity"]
        if identity["pairs"]:
            rows.append(
                (
                    "reads that are exactly what follows from the request before, within its TTL",
                    f"{identity['exact']:,} of {identity['pairs']:,} ({share(identity['share'])})",
                )
            )
        if rows:
            yield Shown(f"Where the figures of {source} come from", ("", "count"), rows)


def _gap(bounds: list[float] | None) -> str:
    return "first of its agent" if bounds is None else _GAPS[bounds[0]]
