"""The comparison of a sweep's points: `sweep.json`, one page, and a picture of each chart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from swarm.config.experiment import Experiment
from swarm.config.sweep import SweepChartConfig, SweepConfig
from swarm.report.charts import write_pictures
from swarm.report.document import page, place, section, table
from swarm.report.notes import kinds, listed
from swarm.report.numbers import UNKNOWN, plain
from swarm.report.sweep.charts import comparison, titles, turning_points
from swarm.report.sweep.points import ZONES, PointResult, figure, frame, is_cost, unobserved
from swarm.report.sweep.sentences import sentence, zones

SWEEP, REPORT = "sweep.json", "report.html"
SCHEMA_VERSION = 1
COLUMNS = (
    ("output tokens /s", "throughput.output_tokens_per_s"),
    ("requests /s", "throughput.requests_per_s"),
    ("hit rate", "cache.hit_rate"),
    ("ideal", "cache.ideal_hit_rate"),
    ("effective TTFT p50, s", "effective_ttft_s.p50"),
    ("p95, s", "effective_ttft_s.p95"),
    ("TPOT p50, s", "tpot_s.p50"),
    ("live agents", "live_agents_mean"),
)


def write_sweep(
    folder: Path, experiment: Experiment, sweep: SweepConfig, points: Sequence[PointResult]
) -> None:
    """Write `sweep.json`: every point with its changes, its summary and what the charts show."""
    data = {
        "schema": SCHEMA_VERSION,
        "experiment": experiment.name,
        "mode": "simulate",
        "charts": [
            {"title": title, "y": chart.y, "shows": said}
            for chart, (title, said) in zip(sweep.charts_wanted, _said(points, sweep), strict=True)
        ],
        "points": [
            {
                "name": point.name,
                "changes": point.changes,
                "labels": point.labels,
                "error": point.error,
                "derived": point.derived,
                "summary": point.summary,
            }
            for point in points
        ],
    }
    (folder / SWEEP).write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def draw_sweep(
    folder: Path, experiment: Experiment, sweep: SweepConfig, points: Sequence[PointResult]
) -> None:
    """Write the page and its pictures; what goes wrong is told, and costs no point."""
    try:
        write_sweep_report(folder, experiment, sweep, points)
    except Exception as fault:  # noqa: BLE001 - whatever a chart trips over, the points are there and count
        print(
            f"swarm: the sweep's report could not be drawn ({type(fault).__name__}: {fault}); its points are "
            f"complete: the same command with --out {folder} draws it again",
            file=sys.stderr,
        )


def write_sweep_report(
    folder: Path, experiment: Experiment, sweep: SweepConfig, points: Sequence[PointResult]
) -> None:
    """Write the page and, under `charts/`, a picture of each chart."""
    parts = [_head(experiment, points), _faults(points), listed(kinds([point.summary for point in points]))]
    charts: dict[str, Any] = {}
    names: dict[str, str] = {}
    for at, (chart, (title, said)) in enumerate(zip(sweep.charts_wanted, _said(points, sweep), strict=True)):
        rows = frame(points, sweep, chart)
        if rows.empty:
            parts.append(section(title, "", chart.note, said=" ".join(said)))
            continue
        name = _file_name(at, chart.y)
        charts[name], names[name] = comparison(rows, sweep, chart), title
        parts.append(section(title, place(name), _how(chart, rows), said=" ".join(said)))
    parts += [_economics(sweep), _table(points)]
    source = f"{experiment.name} · {len(points)} points · emulated"
    write_pictures(folder / "charts", charts, kinds=experiment.charts, titles=names, source=source)
    (folder / REPORT).write_text(
        page(f"{experiment.name}: sweep", parts, charts, whole=SWEEP), encoding="utf-8"
    )


def _said(points: Sequence[PointResult], sweep: SweepConfig) -> list[tuple[str, list[str]]]:
    return [(titles(sweep, chart)[0], _shows(points, sweep, chart)) for chart in sweep.charts_wanted]


def _shows(points: Sequence[PointResult], sweep: SweepConfig, chart: SweepChartConfig) -> list[str]:
    note = unobserved(points, chart.y)
    if note is not None:
        return [note]
    _, x_title, _ = titles(sweep, chart)
    rows = frame(points, sweep, chart)
    said = [sentence(rows, x_title=x_title, figure=chart.y)]
    if chart.zones:
        said.append(zones(rows, x_title))
    return [text for text in said if text]


def _how(chart: SweepChartConfig, rows: pd.DataFrame) -> str:
    """Return how to read a chart: its note, and what its rings are where it has any."""
    has_rings = any(turning_points(part, chart.y) for _, part in rows.groupby("column", sort=False))
    ringed = "where it leaves its floor" if is_cost(chart.y) else "where it falls off"
    return f"{chart.note} A curve is ringed {ringed}.".strip() if has_rings else chart.note


def _head(experiment: Experiment, points: Sequence[PointResult]) -> str:
    about = f"<p>{escape(experiment.description)}</p>" if experiment.description else ""
    return (
        f"<h1>{escape(experiment.name)}</h1><p class=soft>{len(points)} points · "
        f"emulated: the fleet is a model, time is virtual</p>{about}"
    )


def _faults(points: Sequence[PointResult]) -> str:
    items = []
    for point in points:
        if point.summary is None:
            items.append(f"{point.name}: failed: {point.error}")
        elif not point.summary["valid"]:
            items.append(f"{point.name}: invalid: {'; '.join(point.summary['invalid_reasons'])}")
    if not items:
        return ""
    shown = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<div class=bad><b>{len(items)} of {len(points)} points do not count:</b><ul>{shown}</ul></div>"


def _economics(sweep: SweepConfig) -> str:
    economics = sweep.economics
    if economics is None:
        return ""
    prices = economics.prices
    low, high = economics.break_even
    rows = [
        ("One GPU, an hour", plain(economics.gpu_hour)),
        ("1M input tokens, computed", plain(prices.input_per_mtok)),
        ("1M input tokens, from cache", plain(prices.cache_read_per_mtok)),
        ("1M output tokens", plain(prices.output_per_mtok)),
        (f"Zone A, {ZONES['A']}", f"revenue below {low:g} of the cost"),
        (f"Zone B, {ZONES['B']}", f"{low:g} to {high:g}"),
        (f"Zone C, {ZONES['C']}", f"above {high:g}"),
    ]
    note = f"{prices.currency}. {economics.source}".strip()
    return section("Prices", table(("", ""), rows), note)


def _table(points: Sequence[PointResult]) -> str:
    keys = list(points[0].labels) if points else []
    rows = []
    for point in points:
        figures = [figure(point, dotted) for _, dotted in COLUMNS]
        texts = [plain(value) if isinstance(value, int | float) else UNKNOWN for value in figures]
        rows.append((*(point.labels[key] for key in keys), str(point.changes["seed"]), *texts))
    head = (
        *(key.rsplit(".", 1)[-1].replace("_", " ") for key in keys),
        "seed",
        *(name for name, _ in COLUMNS),
    )
    return section("All points", f"<div class=chart>{table(head, rows)}</div>")


def _file_name(at: int, dotted: str) -> str:
    return f"{at + 1:02d}-{dotted.replace('.', '-')}"
