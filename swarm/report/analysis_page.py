"""The report of an analysis: one HTML file that needs no network, and its charts as files."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import orjson
import vl_convert

from swarm.measure.curves import TtlResult
from swarm.report import analysis_charts as charts
from swarm.report import analysis_frames as frames
from swarm.report.analysis_terminal import DISTRIBUTIONS
from swarm.units import US_PER_S
from swarm.workload.survey import Surveyed

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{margin-top:2.5rem}table{border-collapse:collapse}td,th{padding:.2rem .9rem .2rem 0;text-align:right}"
    "td:first-child,th:first-child{text-align:left}th{border-bottom:1px solid #999}.note{color:#666}"
    ".vega-bindings{margin:.5rem 0}select{max-width:30rem}"
)
_SCALE_PNG = 2.0


def write_analysis(
    out: Path, *, surveyed: Surveyed, analysis: dict[str, Any], results: Sequence[TtlResult]
) -> None:
    """Write report.html and charts/*.png, *.svg."""
    labels = [frames.ttl_label(result.ttl_us) for result in results]
    rows, sessions = frames.timeline_rows(surveyed, results)
    timeline = charts.timeline_chart(rows, sessions, labels, is_static=False)
    drawn = _charts(surveyed, analysis, results, labels)
    static = dict(drawn, session_timeline=charts.timeline_chart(rows, sessions, labels, is_static=True))
    folder = out / "charts"
    folder.mkdir(exist_ok=True)
    for name, chart in static.items():
        spec = chart.to_json()
        (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(spec))
        (folder / f"{name}.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE_PNG))
    note = f"{len(sessions)} of {analysis['sessions']} sessions to choose from, the longest first."
    drawn["session_timeline"] = timeline
    (out / "report.html").write_text(_page(analysis, drawn, note), encoding="utf-8")


def _charts(
    surveyed: Surveyed, analysis: dict[str, Any], results: Sequence[TtlResult], labels: list[str]
) -> dict[str, alt.TopLevelMixin]:
    total = max(1, analysis["input_tokens"])
    reusable = surveyed.reuse.pieces.tokens - surveyed.reuse.pieces.overhang
    capacities = [row["capacity_tokens"] for row in analysis["lru"]]
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
    return {
        "working_set": charts.working_set_chart(frames.working_set_rows(surveyed, results), labels),
        "ttl": charts.ttl_chart(results, total),
        "capacity": charts.capacity_chart(
            frames.capacity_rows(surveyed, capacities), int(reusable.sum()) / total
        ),
        "session_timeline": alt.Chart(),
        "gaps": charts.gap_chart(frames.cdf_rows(gaps)),
        "sizes": charts.size_chart(frames.cdf_rows(sizes), "tokens"),
        "cost": charts.cost_chart(analysis["cost"], labels),
    }


_TITLES = {
    "working_set": (
        "Working set over time",
        "All sessions start at 0. A block is held from a use until its TTL has passed without another.",
    ),
    "ttl": ("Hit rate and re-computation by TTL", "No limit of space. A block computed once is ideal."),
    "capacity": (
        "Hit rate by capacity",
        "One LRU pool shared by all sessions, no TTL. Dashed: no limit. Points: the capacities asked for.",
    ),
    "session_timeline": ("Session timelines", "Cached input gray, new input salmon, output blue."),
    "gaps": ("Gaps between an agent's requests", "Think time as recorded, and from start to start."),
    "sizes": ("Tokens of requests", "Growth: where a request is longer than the agent's one before it."),
    "cost": ("Cost by TTL", "A hit is a read; all other whole blocks are written to the cache."),
}


def _page(analysis: dict[str, Any], drawn: dict[str, alt.TopLevelMixin], timeline_note: str) -> str:
    parts = [_summary(analysis)]
    for name, (title, note) in _TITLES.items():
        text = f"{note} {timeline_note}" if name == "session_timeline" else note
        parts.append(f"<h2>{title}</h2><p class=note>{escape(text)}</p><div id='{name}'></div>")
    specs = {name: chart.to_dict() for name, chart in drawn.items()}
    # "</" would end the script element; "<\\/" is the same JSON string.
    data = orjson.dumps(specs).decode().replace("</", "<\\/")
    draw = (
        f"const specs={data};for(const name in specs)"
        "vegaEmbed('#'+name,specs[name],{actions:{export:true,source:false,compiled:false,editor:false}});"
    )
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Workload analysis</title>"
        f"<style>{_STYLE}</style><h1>Workload analysis</h1>{''.join(parts)}"
        f"<script type=module>{bundle}\n{draw}</script></html>\n"
    )


def _summary(analysis: dict[str, Any]) -> str:
    facts = [
        ("sessions", analysis["sessions"]),
        ("requests", analysis["requests"]),
        ("sub-agents", analysis["subagents"]),
        ("input tokens", analysis["input_tokens"]),
        ("output tokens", analysis["output_tokens"]),
        ("unique blocks", analysis["unique_blocks"]),
    ]
    parts = [_table(("", ""), [(name, f"{value:,}") for name, value in facts])]
    parts.append(_broken(analysis["broken"]))
    parts.append("<h2>Distributions</h2>")
    columns = ("mean", "p5", "p25", "p50", "p75", "p95", "p99", "max")
    rows = [
        (label, *(show(analysis[key][column]) for column in columns))
        for key, (label, show) in DISTRIBUTIONS.items()
        if analysis[key]["n"]
    ]
    parts.append(_table(("", *columns), rows))
    if analysis["sizing"] is not None:
        parts.append(_sizing(analysis["sizing"]))
    return "".join(parts)


def _broken(broken: list[dict[str, str]]) -> str:
    if not broken:
        return ""
    rows = [(item["path"], item["place"], item["reason"]) for item in broken[:100]]
    return f"<h2>Left out: {len(broken)} broken parts</h2>" + _table(("file", "place", "reason"), rows)


def _sizing(sizing: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['hit_rate']:.0%}",
            _number(row["capacity_tokens"]),
            _number(row["gib"]),
            _number(row["added_gib"]),
        )
        for row in sizing["targets"]
    ]
    head = ("hit rate", "tokens", "GiB in all", "GiB added to the tiers above")
    title = f"<h2>Memory for a hit rate</h2><p class=note>{sizing['kv_bytes_per_token']:,.0f} bytes per token"
    return f"{title}, one LRU pool or inclusive tiers.</p>{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
