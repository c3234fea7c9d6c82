"""The report of a fit: recorded and sampled sessions side by side, in one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import orjson

from swarm.config.profile import ProfileFile
from swarm.report.analysis.frames import Row, capacity_rows, cdf_rows, ttl_label
from swarm.report.charts import write_pictures
from swarm.report.document import page, place, section, table
from swarm.report.fit.comparison import CAPACITIES, TTLS_S, Compared, as_json, summed_up
from swarm.report.numbers import count, share
from swarm.report.palette import RUNS
from swarm.reuse.curves import ttl_us
from swarm.units import counted
from swarm.workload.recorded import RecordedSession

_NAMES = ("recorded", "sampled")
_COLOR = alt.Color("of:N", title=None, scale=alt.Scale(domain=list(_NAMES), range=list(RUNS[:2])))
_WIDTH, _HEIGHT = 400, 190


TITLES = {
    "ttl": ("Hit rate by TTL", "Token-weighted, no limit of space; all sessions start at 0."),
    "capacity": ("Hit rate by capacity", "One LRU pool that all sessions share, no TTL."),
    "distributions": ("Distributions", "Share of values at or below; logarithmic but for the growth."),
}
CLOSE = 0.02
"""A hit rate that is missed by no more than this is as recorded."""
APART = 0.1
"""Distributions whose largest difference is above this are told apart by eye."""


def write_fit_report(
    out: Path,
    *,
    profile: ProfileFile,
    recorded: Iterable[RecordedSession],
    sampled: Iterable[RecordedSession],
    seed: int,
) -> None:
    """Write report.html, fit.json and charts/*.png, *.svg."""
    both = (summed_up(recorded), summed_up(sampled))
    numbers = as_json(*both, seed)
    charts = {"distributions": _distributions(both), "capacity": _capacity(both), "ttl": _ttl(both)}
    source = f"profile {profile.name} · sampled with seed {seed}"
    write_pictures(out / "charts", charts, kinds=("png", "svg"), titles=TITLES, source=source)
    (out / "fit.json").write_bytes(orjson.dumps(numbers, option=orjson.OPT_INDENT_2) + b"\n")
    lines = "".join(f"<li>{escape(text)}</li>" for text in answer(numbers))
    parts = [
        f"<h1>Fit of {escape(profile.name)}</h1><ul class=answer>{lines}</ul>",
        *(section(title, place(name), note) for name, (title, note) in TITLES.items()),
        _facts(profile, numbers),
        _distances(numbers),
        _rates(numbers),
    ]
    (out / "report.html").write_text(
        page(f"Fit of {profile.name}", parts, charts, whole="the traces, summed up in fit.json"),
        encoding="utf-8",
    )


def answer(numbers: dict[str, Any]) -> list[str]:
    """Return how well the profile gives the recordings again: hit rates first, then what is least alike."""
    rows = [
        *((f"a TTL of {ttl_label(ttl_us(row['ttl_s']))}", row["hit_rate"]) for row in numbers["ttl"]),
        *((f"a pool of {count(row['capacity_tokens'])} tokens", row["hit_rate"]) for row in numbers["lru"]),
    ]
    where, (recorded, sampled) = max(rows, key=lambda row: abs(row[1][1] - row[1][0]))
    most = abs(sampled - recorded)
    verdict = "are as recorded" if most <= CLOSE else "differ from the recorded ones"
    said = [
        f"Hit rates of sampled sessions {verdict}: at most {100 * most:.1f} points apart, with {where} "
        f"({share(sampled)} sampled, {share(recorded)} recorded)."
    ]
    apart = {name: value for name, value in numbers["ks"].items() if value > APART}
    if apart:
        told = ", ".join(
            f"{name} ({value:.2f})" for name, value in sorted(apart.items(), key=lambda x: -x[1])
        )
        said.append(f"Least alike, by the largest difference of their distributions: {told}.")
    else:
        said.append(f"No distribution is more than {APART:g} away from the recorded one.")
    return said


def _facts(profile: ProfileFile, numbers: dict[str, Any]) -> str:
    fitted = profile.fitted
    rows = [
        ("sessions", *(f"{value:,}" for value in numbers["sessions"])),
        ("requests", *(f"{value:,}" for value in numbers["requests"])),
    ]
    note = (
        f"Fitted on {counted(fitted.sessions, 'session')}, {counted(fitted.requests, 'request')} and "
        f"{fitted.subagents:,} sub-agents. "
        f"Sampled with seed {numbers['seed']}: another seed differs by chance."
    )
    return section("What was compared", table(("", *_NAMES), rows), note)


def _distances(numbers: dict[str, Any]) -> str:
    rows = [(name, f"{value:.3f}") for name, value in numbers["ks"].items()]
    note = "Two-sample Kolmogorov-Smirnov: the largest difference of the two distribution functions."
    return section("Distances", table(("", "KS"), rows), note)


def _rates(numbers: dict[str, Any]) -> str:
    rows = [
        (
            f"TTL {ttl_label(ttl_us(row['ttl_s']))}",
            *(f"{rate:.1%}" for rate in row["hit_rate"]),
            f"{row['hit_rate'][1] - row['hit_rate'][0]:+.1%}",
            *(f"{mean:.2f}" for mean in row["reprefill_mean"]),
        )
        for row in numbers["ttl"]
    ]
    rows += [
        (
            f"LRU {row['capacity_tokens'] / 1e6:g}M tokens",
            *(f"{rate:.1%}" for rate in row["hit_rate"]),
            f"{row['hit_rate'][1] - row['hit_rate'][0]:+.1%}",
            "",
            "",
        )
        for row in numbers["lru"]
    ]
    head = ("", "hit rate, recorded", "sampled", "difference", "prefills per block, recorded", "sampled")
    return section("Reuse", table(head, rows))


def _distributions(both: Sequence[Compared]) -> Any:
    charts = []
    for name in both[0].samples:
        of = {label: one.samples[name] for label, one in zip(_NAMES, both, strict=True)}
        rows: list[Row] = [row | {"of": row["kind"]} for row in cdf_rows(of)]
        scale: Any = alt.Scale(type="log", nice=False)
        if name.startswith("growth"):
            low, high = np.quantile(of["recorded"], (0.005, 0.995))
            scale = alt.Scale(type="symlog", constant=100, domain=[float(low), float(high)])
        else:
            rows = [row | {"value": max(row["value"], 1.0)} for row in rows]
        charts.append(
            alt.Chart(alt.Data(values=rows), width=_WIDTH, height=_HEIGHT)
            .mark_line(strokeWidth=2, clip=True, interpolate="step-after")
            .encode(
                x=alt.X("value:Q", title=name, scale=scale, axis=alt.Axis(format="~s", tickCount=6)),
                y=alt.Y("share:Q", title="share", axis=alt.Axis(format="%")),
                color=_COLOR,
                tooltip=[
                    alt.Tooltip("of:N", title="of"),
                    alt.Tooltip("share:Q", title="share that is less", format=".2%"),
                    alt.Tooltip("value:Q", title=name, format=",.4~r"),
                ],
            )
        )
    return alt.concat(*charts, columns=2)


def _capacity(both: Sequence[Compared]) -> Any:
    rows = [
        row | {"of": label}
        for label, one in zip(_NAMES, both, strict=True)
        for row in capacity_rows(one.surveyed, CAPACITIES)
    ]
    base = alt.Chart(alt.Data(values=rows), width=2 * _WIDTH, height=280).encode(
        x=alt.X(
            "capacity_tokens:Q",
            title="capacity (tokens)",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(format="~s", tickCount=6),
        ),
        y=alt.Y("hit_rate:Q", title="hit rate", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=_COLOR,
        tooltip=[
            alt.Tooltip("of:N", title="of"),
            alt.Tooltip("capacity_tokens:Q", title="capacity (tokens)", format=","),
            alt.Tooltip("hit_rate:Q", title="hit rate", format=".2%"),
        ],
    )
    return base.mark_line(strokeWidth=2) + base.transform_filter("datum.asked").mark_point(
        filled=True, size=50
    )


def _ttl(both: Sequence[Compared]) -> Any:
    rows = [
        {"of": label, "ttl": ttl_label(ttl_us(ttl_s)), "hit_rate": rate}
        for label, one in zip(_NAMES, both, strict=True)
        for ttl_s, rate in zip(TTLS_S, one.ttl_hit_rates, strict=True)
    ]
    order = [ttl_label(ttl_us(ttl_s)) for ttl_s in TTLS_S]
    base = alt.Chart(alt.Data(values=rows), width=2 * _WIDTH, height=240).encode(
        x=alt.X("ttl:N", title="TTL", sort=order, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("of:N", sort=list(_NAMES)),
        y=alt.Y("hit_rate:Q", title="hit rate", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=_COLOR,
        tooltip=[
            alt.Tooltip("of:N", title="of"),
            alt.Tooltip("ttl:N", title="TTL"),
            alt.Tooltip("hit_rate:Q", title="hit rate", format=".2%"),
        ],
    )
    # On a narrow screen the labels of neighbours would lie on each other at one height.
    texts = [
        base.transform_filter(alt.datum.of == name)
        .mark_text(dy=dy, fontSize=10)
        .encode(text=alt.Text("hit_rate:Q", format=".1%"))
        for name, dy in zip(_NAMES, (-7, -18), strict=True)
    ]
    return alt.layer(base.mark_bar(), *texts)
