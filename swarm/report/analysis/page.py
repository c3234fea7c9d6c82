"""The report of an analysis: one HTML file that needs no network, and its charts as files."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from swarm.report.analysis import charts, frames, recorded
from swarm.report.analysis.answer import answers, remarks
from swarm.report.analysis.terminal import DISTRIBUTIONS
from swarm.report.charts import write_pictures
from swarm.report.document import page, place, section, table
from swarm.report.numbers import share
from swarm.reuse.curves import TtlResult
from swarm.reuse.survey import Surveyed
from swarm.units import US_PER_S, counted

LINE = re.compile(r"(.*?)(?::(\d+))?", re.DOTALL)
SOURCES_SHOWN = 3
BROKEN_SHOWN_MAX = 100
"""Rows of what was left out: a file and a reason each."""


def write_analysis(
    out: Path,
    *,
    surveyed: Surveyed,
    analysis: dict[str, Any],
    results: Sequence[TtlResult],
    sources: Sequence[str],
) -> None:
    """Write report.html and charts/*.png, *.svg; `sources` name what was read."""
    ceiling = reusable_tokens(surveyed) / max(1, analysis["input_tokens"])
    capacity = frames.capacity_rows(surveyed, [row["capacity_tokens"] for row in analysis["lru"]])
    labels = [frames.ttl_label(result.ttl_us) for result in results]
    drawn = {
        "working_set": charts.working_set_chart(frames.working_set_rows(surveyed, results), labels),
        "ttl": charts.ttl_chart(results, max(1, analysis["input_tokens"])),
        "capacity": charts.capacity_chart(capacity, ceiling),
        **_distributions(surveyed),
        "cost": charts.cost_chart(analysis["cost"], labels),
    }
    timeline, static, note = _timeline(surveyed, analysis, results, labels)
    name = _source(sources)
    write_pictures(out / "charts", {**drawn, **static}, kinds=("png", "svg"), titles=_TITLES, source=name)
    said = remarks(analysis, capacity, ceiling)
    parts = [
        f"<h1>Workload analysis</h1><p class=soft>{escape(name)}</p>",
        _answers(analysis, answers(analysis, capacity, ceiling)),
        _summary(analysis),
        _recorded(analysis),
        *_sections(analysis, {**drawn, **timeline}, said, note),
    ]
    text = page(
        f"Workload analysis: {name}",
        parts,
        {**drawn, **timeline},
        whole="the traces, summed up in analysis.json",
    )
    (out / "report.html").write_text(text, encoding="utf-8")


def reusable_tokens(surveyed: Surveyed) -> int:
    """Return the input tokens that a cache without limits would have held."""
    pieces = surveyed.reuse.pieces
    return int((pieces.tokens - pieces.overhang).sum())


def _source(sources: Sequence[str]) -> str:
    """Return what was read as a line: the first names, and how many more."""
    shown = ", ".join(sources[:SOURCES_SHOWN])
    more = len(sources) - SOURCES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _timeline(
    surveyed: Surveyed, analysis: dict[str, Any], results: Sequence[TtlResult], labels: list[str]
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return sessions' requests one by one, or all together where no session has many; drawn twice.

    First for the page, then for a picture; and a note.
    """
    if not results:
        return {}, {}, ""
    if not frames.has_timelines(surveyed):
        rows = frames.over_time_rows(surveyed, results)
        live, still = (charts.over_time_chart(rows, labels, is_static=each) for each in (False, True))
        return {"requests_over_time": live}, {"requests_over_time": still}, ""
    rows, sessions = frames.timeline_rows(surveyed, results)
    live, still = (charts.timeline_chart(rows, sessions, labels, is_static=each) for each in (False, True))
    every = counted(analysis["sessions"], "session")
    note = f"{len(sessions):,} of {every} to choose from, the longest first."
    return {"session_timeline": live}, {"session_timeline": still}, note


def _distributions(surveyed: Surveyed) -> dict[str, Any]:
    order = np.lexsort((surveyed.at_us, surveyed.agent))
    follows = np.flatnonzero(np.diff(surveyed.agent[order]) == 0) + 1
    at_us, inputs = surveyed.at_us[order], surveyed.input_tokens[order]
    think_s = surveyed.think_s[order][follows]
    gaps = {
        "think time": think_s[~np.isnan(think_s)],
        "between requests": (at_us[follows] - at_us[follows - 1]) / US_PER_S,
    }
    growth = inputs[follows] - inputs[follows - 1]
    sizes = {
        "input": surveyed.input_tokens,
        "output": surveyed.output_tokens,
        "growth from request to request": growth[growth > 0],
    }
    drawn = {
        "gaps": charts.gap_chart(frames.cdf_rows(gaps)),
        "sizes": charts.size_chart(frames.cdf_rows(sizes), "tokens"),
    }
    if not any(map(len, gaps.values())):
        # Nobody has a second request.
        del drawn["gaps"]
    return drawn


_TITLES = {
    "working_set": (
        "Working set over time",
        "Times count from the first request of all; recorded sessions that share no clock all start at 0. A "
        "block is held from a use until its TTL has passed without another.",
    ),
    "ttl": ("Hit rate and re-computation by TTL", "No limit of space. A block computed once is ideal."),
    "capacity": (
        "Hit rate by capacity",
        "One pool shared by all sessions, no TTL. Blue: LRU; salmon: optimal eviction (Belady), which "
        "knows what comes and which no policy exceeds. Dashed: no limit. Points: the capacities asked for.",
    ),
    "session_timeline": ("Session timelines", "Cached input gray, new input salmon, output blue."),
    "requests_over_time": (
        "Requests over time",
        "All sessions together: cached input gray, new input salmon, output blue.",
    ),
    "gaps": ("Gaps between an agent's requests", "Think time as recorded, and from start to start."),
    "sizes": ("Tokens of requests", "Growth: where a request is longer than the agent's one before it."),
    "cost": (
        "Cost by TTL",
        "A hit is a read; any other token of a block with an id is a write, at the price of the shortest "
        "lifetime offered that is long enough; a token without an id is plain input. In brackets: against no "
        "cache.",
    ),
}


def _sections(
    analysis: dict[str, Any], drawn: Collection[str], said: dict[str, str], timeline_note: str
) -> list[str]:
    more = {"session_timeline": timeline_note, "cost": _price_list(analysis["cost"]["prices"])}
    return [
        section(title, place(name), f"{note} {more.get(name, '')}".strip(), said=said.get(name, ""))
        for name, (title, note) in _TITLES.items()
        if name in drawn
    ]


def _price_list(prices: dict[str, Any]) -> str:
    writes = [
        f"cache write for {frames.ttl_label(round(write['ttl_s'] * US_PER_S))} {write['per_mtok']:g}"
        for write in prices["cache_writes"]
    ]
    stated = [
        f"input {prices['input_per_mtok']:g}",
        f"output {prices['output_per_mtok']:g}",
        f"cache read {prices['cache_read_per_mtok']:g}",
        *writes,
    ]
    return f"Prices of a million tokens, in {prices['currency']}: {', '.join(stated)}."


def _summary(analysis: dict[str, Any]) -> str:
    facts = [
        ("sessions", analysis["sessions"]),
        ("requests", analysis["requests"]),
        ("sub-agents", analysis["subagents"]),
        ("input tokens", analysis["input_tokens"]),
        ("output tokens", analysis["output_tokens"]),
        ("unique blocks", analysis["unique_blocks"]),
    ]
    parts = [table(("", ""), [(name, f"{value:,}") for name, value in facts])]
    parts += [f"<p><b>note:</b> {escape(note)}</p>" for note in analysis["notes"]]
    parts.append(_broken(analysis["broken"]))
    columns = ("mean", "p5", "p25", "p50", "p75", "p95", "p99", "max")
    rows = [
        (label, *(show(analysis[key][column]) for column in columns))
        for key, (label, show) in DISTRIBUTIONS.items()
        if analysis[key]["n"]
    ]
    parts.append(section("Distributions", table(("", *columns), rows)))
    parts.append(_by_capacity(analysis))
    if analysis["sizing"] is not None:
        parts.append(_sizing(analysis["sizing"]))
    return "".join(parts)


def _by_capacity(analysis: dict[str, Any]) -> str:
    """Return LRU beside optimal eviction; nothing where no capacity was asked for."""
    if not analysis["lru"]:
        return ""
    rows = [
        (
            "no limit" if row["capacity_tokens"] is None else _number(row["capacity_tokens"]),
            share(row["hit_rate"]),
            share(best["hit_rate"]),
        )
        for row, best in zip(analysis["lru"], analysis["belady"], strict=True)
    ]
    return section("Hit rate of one pool", table(("tokens", "LRU", "optimal eviction"), rows))


def _answers(analysis: dict[str, Any], said: Sequence[str]) -> str:
    lines = "".join(f"<li>{escape(line)}.</li>" for line in (*recorded.answers(analysis), *said))
    return f"<ul class=answer>{lines}</ul><p class=soft>{escape(recorded.STAYS_HERE)}</p>"


def _recorded(analysis: dict[str, Any]) -> str:
    every = (*recorded.tables(analysis), recorded.waits(analysis), *recorded.provenance(analysis))
    return "".join(section(each.title, table(each.head, each.rows)) for each in every if each is not None)


def _broken(broken: list[dict[str, str]]) -> str:
    if not broken:
        return ""
    places: dict[tuple[str, str], list[str]] = {}
    for item in broken:
        # Of a session on a line of its own, the path ends in the line's number.
        file, line = LINE.fullmatch(item["path"]).groups()  # type: ignore[union-attr]
        first = item["place"] if line is None else f"line {line}: {item['place']}"
        places.setdefault((file, item["reason"]), []).append(first)
    rows = [
        (path, f"{len(found):,}", found[0], reason)
        for (path, reason), found in islice(places.items(), BROKEN_SHOWN_MAX)
    ]
    return section(
        f"Left out: {len(broken):,} broken parts", table(("file", "parts", "the first", "reason"), rows)
    )


def _sizing(sizing: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['hit_rate']:.0%}",
            _number(row["capacity_tokens"]),
            "no size reaches it" if row["gib"] is None else _number(row["gib"]),
            _number(row["added_gib"]),
        )
        for row in sizing["targets"]
    ]
    head = ("hit rate", "tokens", "GiB in all", "GiB added to the tiers above")
    note = f"{sizing['kv_bytes_per_token']:,.0f} bytes per token, one LRU pool or inclusive tiers."
    return section("Memory for a hit rate", table(head, rows), note)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
