"""The SLO by window and by session, and why requests missed it: what took most of their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from swarm.config.slo import COMPLETIONS, ObjectiveConfig
from swarm.hit_names import LOST_TO
from swarm.measure.latency import Flags, Selection
from swarm.measure.slo import request_trials
from swarm.report import palette
from swarm.report.charts import phases, time_axis
from swarm.report.numbers import share
from swarm.report.run.over_time import Measured, panels
from swarm.report.run.requests import Requests
from swarm.report.theme import PLOT_PX

STRETCHES_MAX, REQUESTS_EACH = 100, 25
"""Stretches of the measured phase, and the requests that each should have for its share to mean something."""
SESSIONS_SHOWN = 14
HEIGHT_PX = 150
LABEL_APART = 0.12
"""Of the axis: labels nearer than this would touch."""
MOST = 0.5
"""What took more than so much of a request's time is why it was late."""
MUCH_NEW = 2.0
"""So many times the tokens that requests within the SLO had to compute are much."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Which requests of the measured phase were judged, and which of them missed an objective."""

    objectives: tuple[tuple[ObjectiveConfig, Flags, Flags], ...]
    """Each with who was judged, and who was good."""
    judged: Flags
    missed: Flags
    reasons: Sequence[str]
    """Of each that missed, what took most of its time; of one that failed, its class."""


def missed(requests: Requests, objectives: Sequence[ObjectiveConfig]) -> Missed | None:
    """Judge the measured requests by each objective of requests; None where there is none, or nobody."""
    mine = [each for each in objectives if each.metric not in COMPLETIONS]
    if not mine or not len(requests):
        return None
    due = requests.measured
    found = []
    for objective in mine:
        judged, good = request_trials(objective, Selection(requests.table, np.ones(len(requests), np.bool_)))
        found.append((objective, judged & due, good))
    every = np.logical_or.reduce([judged for _, judged, _ in found])
    late = np.logical_or.reduce([judged & ~good for _, judged, good in found])
    if not every.any():
        return None
    return Missed(tuple(found), every, late, _reasons(requests, every, late, _is_decode_only(found, late)))


def slo_over_time(requests: Requests, found: Missed, measured: Measured) -> Any:
    """Return the share within each objective over time; below it the sessions that missed most."""
    above, below = _shares(requests, found, measured), _sessions(requests, found, measured)
    parts = [each for each in (above, below) if each is not None]
    return panels(*parts) if parts else None


def missed_told(requests: Requests, found: Missed) -> str:
    """Return how many sessions missed, and why most of their requests did."""
    if not found.missed.any():
        return f"All {int(found.judged.sum()):,} requests were within every objective."
    places, _ = requests.codes("session")
    sessions, late = np.unique(places[found.judged]), np.unique(places[found.missed])
    reasons = pd.Series(found.reasons).value_counts()
    part = float(reasons.iloc[0] / reasons.sum())
    return (
        f"{int(found.missed.sum()):,} of {int(found.judged.sum()):,} requests missed an objective, in "
        f"{len(late):,} of {len(sessions):,} sessions; {share(part)} of these requests: {reasons.index[0]}."
    )


def worst_sessions(requests: Requests, found: Missed) -> list[tuple[str, ...]]:
    """Return the rows of a table: session, requests that missed, of how many, and the two main reasons."""
    places, names = requests.codes("session")
    if not found.missed.any():
        return []
    late = np.bincount(places[found.missed], minlength=len(names))
    every = np.bincount(places[found.judged], minlength=len(names))
    reasons = pd.DataFrame({"session": places[found.missed], "why": found.reasons})
    rows: list[tuple[str, ...]] = []
    for place in np.argsort(-late, kind="stable")[:SESSIONS_SHOWN].tolist():
        if not late[place]:
            break
        of_session = reasons[reasons["session"] == place]["why"].value_counts()
        told = "; ".join(f"{number}: {reason}" for reason, number in of_session.head(2).items())
        rows.append(
            (names[place], f"{late[place]:,}", f"{every[place]:,}", share(late[place] / every[place]), told)
        )
    return rows


def _reasons(requests: Requests, judged: Flags, missed: Flags, decode: Flags) -> list[str]:
    keep = missed
    due_s, intended_s = requests.number("due_s")[keep], requests.number("intended_s")[keep]
    first_s, end_s = requests.number("first_token_s")[keep], requests.number("completed_s")[keep]
    sent_s = requests.number("sent_s")[keep]
    whole = np.where(np.isnan(first_s), end_s, first_s) - intended_s
    whole = np.where(whole > 0, whole, np.inf)
    prompt, cached = requests.number("prompt_tokens")[keep], requests.number("cached_tokens")[keep]
    computed = prompt - cached
    lost = requests.lost_tokens[keep]
    within = judged & ~missed
    usual = requests.number("prompt_tokens")[within] - requests.number("cached_tokens")[within]
    usual_tokens = float(np.nanmedian(usual)) if (~np.isnan(usual)).any() else np.inf
    codes, classes = requests.codes("error_class")
    causes = np.stack([np.nan_to_num(requests.number(f"lost_tokens_{cause}")[keep]) for cause in LOST_TO])
    cause = [LOST_TO[at].replace("_", " ") for at in causes.argmax(axis=0)]
    tests: list[tuple[Any, Any]] = [
        (
            requests.is_("outcome", "failed")[keep],
            [f"failed: {classes[code]}" if code >= 0 else "" for code in codes[keep]],
        ),
        (decode[keep], "slow output: the first token was in time"),
        (requests.number("admission_wait_s")[keep] > MOST * whole, "waited for admission"),
        (requests.number("retry_wait_s")[keep] > MOST * whole, "waited to try again"),
        (sent_s - due_s > MOST * whole, "sent late by the client"),
        (
            (lost > MOST * computed) & (lost > 0),
            [f"computed again what was cached once: {each}" for each in cause],
        ),
        (computed > MUCH_NEW * usual_tokens, "much new input to compute"),
    ]
    told = np.full(int(keep.sum()), "waited in the server", dtype=object)
    for is_it, words in reversed(tests):
        told = np.where(is_it, np.asarray(words, dtype=object), told)
    return [str(each) for each in told]


def _is_decode_only(found: Sequence[tuple[ObjectiveConfig, Flags, Flags]], missed: Flags) -> Flags:
    """Return which requests missed objectives of their output alone."""
    other = np.zeros(len(missed), dtype=np.bool_)
    for objective, judged, good in found:
        if objective.metric not in ("tpot_s", "itl_s", "output_tokens_per_s"):
            other |= judged & ~good
    return missed & ~other


def _edges(found: Missed, measured: Measured) -> Any:
    number = int(np.clip(found.judged.sum() // REQUESTS_EACH, 4, STRETCHES_MAX))
    return np.linspace(measured["from_s"], measured["to_s"], number + 1)


def _shares(requests: Requests, found: Missed, measured: Measured) -> Any:
    if measured["to_s"] <= measured["from_s"]:
        return None
    edges, due_s = _edges(found, measured), requests.number("intended_s")
    parts, rules = [], []
    for objective, judged, good in found.objectives:
        total = np.histogram(due_s[judged], edges)[0]
        kept = np.histogram(due_s[judged & good], edges)[0]
        some = total > 0
        middle = (edges[1:] + edges[:-1])[some] / 2
        parts.append(pd.DataFrame({"at_s": middle, "share": (kept[some] / total[some]).round(4),
                                   "series": objective.told, "requests": total[some]}))  # fmt: skip
        rules.append(objective.quantile)
    rows = pd.concat(parts, ignore_index=True)
    if rows.empty:
        return None
    low = max(0.0, min(float(rows["share"].min()), *rules) - 0.05)
    scale = alt.Scale(domain=[low, 1], nice=False)
    names = [objective.told for objective, _, _ in found.objectives]
    colors = alt.Scale(domain=names, range=list(palette.RUNS[: len(names)]))
    drawn = (
        alt.Chart(rows)
        .mark_line(point={"size": 18}, clip=True)
        .encode(
            x=time_axis(),
            y=alt.Y("share:Q", title="within the SLO", axis=alt.Axis(format=".0%", tickCount=5), scale=scale),
            color=alt.Color("series:N", scale=colors,
                            legend=alt.Legend(title=None, symbolType="stroke", columns=2)),
            tooltip=["series:N", alt.Tooltip("share:Q", title="within the SLO", format=".1%"), "requests:Q",
                     alt.Tooltip("at_s:Q", title="due (s)", format=",.1f")],
        )
    )  # fmt: skip
    needed = _needed(rules, low)
    base = alt.Chart(needed)
    rule = base.mark_rule(color=palette.TEXT, strokeDash=[2, 3]).encode(y=alt.Y("required:Q", scale=scale))
    text = base.mark_text(align="right", dy=9, dx=-4, fontSize=10, color=palette.TEXT).encode(
        x=alt.value(PLOT_PX), y=alt.Y("required:Q", scale=scale), text="text:N"
    )
    shade = phases({"from_s": measured["from_s"]})
    return alt.layer(*shade, rule, text, drawn).properties(width=PLOT_PX, height=HEIGHT_PX)


def _needed(rules: Sequence[float], low: float) -> pd.DataFrame:
    """Return the required shares as lines; lines that lie near each other have one label."""
    ordered = sorted(set(rules))
    texts = [""] * len(ordered)
    near: list[float] = []
    for at, share_needed in enumerate(ordered):
        near.append(share_needed)
        if at + 1 == len(ordered) or ordered[at + 1] - share_needed > LABEL_APART * (1 - low):
            texts[at - len(near) + 1] = f"{' and '.join(f'{each * 100:.4g} %' for each in near)} needed"
            near = []
    return pd.DataFrame({"required": ordered, "text": texts})


def _sessions(requests: Requests, found: Missed, measured: Measured) -> Any:
    """Return the sessions that missed most as rows of cells: the stronger, the more of them missed there."""
    if not found.missed.any() or measured["to_s"] <= measured["from_s"]:
        return None
    places, names = requests.codes("session")
    late = np.bincount(places[found.missed], minlength=len(names))
    worst = [place for place in np.argsort(-late, kind="stable")[:SESSIONS_SHOWN].tolist() if late[place]]
    edges, due_s = _edges(found, measured), requests.number("intended_s")
    rows = []
    for rank, place in enumerate(worst):
        mine = places == place
        total = np.histogram(due_s[mine & found.judged], edges)[0]
        missed_here = np.histogram(due_s[mine & found.missed], edges)[0]
        rows += [
            {"session": names[place], "rank": rank, "at_s": edges[at], "to_s": edges[at + 1],
             "missed": int(missed_here[at]), "requests": int(total[at]), "share": missed_here[at] / total[at]}
            for at in np.flatnonzero(total).tolist()
        ]  # fmt: skip
    color = alt.Color(
        "share:Q",
        scale=alt.Scale(domain=[0, 1], range=["#8a919c40", palette.BAD]),
        legend=alt.Legend(title="share missed", format=".0%", gradientLength=140),
    )
    order = alt.EncodingSortField(field="rank", op="min", order="ascending")
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_rect()
        .encode(
            x=time_axis(),
            x2="to_s:Q",
            y=alt.Y("session:N", sort=order, title=None, axis=alt.Axis(labelLimit=90)),
            color=color,
            tooltip=[
                "session:N",
                "missed:Q",
                "requests:Q",
                alt.Tooltip("at_s:Q", title="from (s)", format=",.1f"),
            ],
        )
        .properties(width=PLOT_PX, height=alt.Step(13))
    )
