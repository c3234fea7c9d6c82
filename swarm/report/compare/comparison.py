"""Two runs against each other: which differences are outside their noise, and which are for the worse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarm.config.slo import COMPLETIONS, ObjectiveConfig
from swarm.measure.intervals import (
    Estimate,
    Groups,
    difference,
    numbered,
    quantile,
    ratio,
    stretches,
    supports,
    total,
)
from swarm.measure.intervals import share as share_of
from swarm.measure.latency import (
    Floats,
    Selection,
    e2e_s,
    effective_ttft_s,
    flags,
    floats,
    tpot_s,
    ttft_s,
)
from swarm.measure.slo import request_trials
from swarm.records.run_folder import RunFolder
from swarm.report.numbers import UNKNOWN, seconds, share

REQUESTS_LEAST = 30
"""Requests of each run that a figure needs to be compared."""
FAMILY_CONFIDENCE = 0.95
"""That no figure at all is called different by chance (Bonferroni over the figures)."""

INTERVAL = "interval, 95 % for all"
"""The intervals' heading."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both runs; `verdict` says what may be said of it."""

    label: str
    unit: str
    """s, share or per_s."""
    before: Estimate
    after: Estimate
    change: Estimate
    verdict: str
    """better, worse or no difference; too few, where a run has not the requests for the figure; undecided,
    where too few sessions, or no spread at all, tell how much of it is chance."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a run's figures are computed from: its measured requests, in groups."""

    finished: Selection
    groups: Groups
    due: Selection
    """All of them, however they ended."""
    due_groups: Groups
    duration_s: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure that two runs are compared by; `better` is 1 when more is better, else -1."""

    label: str
    unit: str
    better: int
    estimate: Callable[[Sample, float], tuple[Estimate, int]]
    """The figure, and of how many requests it is."""
    quantile: float | None = None
    is_of_finished: bool = True
    """Whether requests that failed are left out of it."""


def compare(before: RunFolder, after: RunFolder, *, others: int = 1) -> list[Difference]:
    """Return every figure that both runs have, with the difference's interval.

    `others` is how many runs are held against the first one: the confidence is that of all of them together.
    """
    samples = sample_of(before), sample_of(after)
    figures = (*COMPARED, *(_kept(objective) for objective in _objectives_of(before, after)))
    confidence = 1 - (1 - FAMILY_CONFIDENCE) / len(figures) / others
    found, fails_more = [], False
    for each in figures:
        (one, count), (other, other_count) = (each.estimate(sample, confidence) for sample in samples)
        if math.isnan(one.value) or math.isnan(other.value):
            continue
        change = difference(one, other)
        verdict = _verdict(one, other, change, each, min(count, other_count))
        fails_more |= each is FAILED and verdict == "worse"
        if fails_more and each.is_of_finished and verdict == "better":
            verdict = "better, of those that finished"
        found.append(Difference(each.label, each.unit, one, other, change, verdict))
    return found


def regressions(differences: list[Difference]) -> list[Difference]:
    """Return what became worse beyond noise."""
    return [each for each in differences if each.verdict == "worse"]


def sample_of(folder: RunFolder) -> Sample:
    """Return a run's sample."""
    table = folder.requests()
    measured = folder.summary()["measured"]
    from_s, to_s = measured["from_s"], measured["to_s"]

    def groups_of(rows: Selection) -> Groups:
        names = rows.column("session").to_numpy(zero_copy_only=False)
        times = stretches(floats(rows, "intended_s"), from_s=from_s, to_s=to_s)
        return Groups(numbered(names.astype(str)), times)

    due = Selection(table, flags(table, "measured"))
    finished = due.where(flags(table, "outcome", "ok"))
    return Sample(finished, groups_of(finished), due, groups_of(due), to_s - from_s)


def _verdict(one: Estimate, other: Estimate, change: Estimate, each: Compared, count: int) -> str:
    if count < REQUESTS_LEAST or (each.quantile is not None and not supports(count, each.quantile)):
        return "too few"
    if math.isinf(change.low) and math.isinf(change.high):
        return "undecided"
    if change.low <= 0 <= change.high:
        return "no difference"
    if one.low == one.high or other.low == other.high:
        # All values alike: nobody knows how far chance alone would take them.
        return "undecided"
    return "better" if (change.value > 0) == (each.better > 0) else "worse"


def _quantile(label: str, latency: Callable[[Selection], Floats], of: float) -> Compared:
    def estimate(sample: Sample, confidence: float) -> tuple[Estimate, int]:
        values = latency(sample.finished)
        known = ~np.isnan(values)
        found = quantile(values[known], of, sample.groups.of(known), confidence=confidence)
        return found, int(known.sum())

    return Compared(f"{label} p{of * 100:g}", "s", -1, estimate, of)


def _hit_rate(sample: Sample, confidence: float) -> tuple[Estimate, int]:
    cached, prompt = floats(sample.finished, "cached_tokens"), floats(sample.finished, "prompt_tokens")
    known = ~np.isnan(cached)
    found = ratio(cached[known], prompt[known], sample.groups.of(known), confidence=confidence)
    return found, int(known.sum())


def _rate_of(column: str | None) -> Callable[[Sample, float], tuple[Estimate, int]]:
    def estimate(sample: Sample, confidence: float) -> tuple[Estimate, int]:
        weights = np.ones(sample.finished.num_rows)
        if column is not None:
            weights = floats(sample.finished, column)
        if sample.duration_s <= 0:
            return Estimate(math.nan, -math.inf, math.inf), 0
        found = total(weights / sample.duration_s, sample.groups, confidence=confidence)
        return found, len(weights)

    return estimate


def _failed_share(sample: Sample, confidence: float) -> tuple[Estimate, int]:
    told = ~flags(sample.due, "outcome", "interrupted")
    failed = flags(sample.due, "outcome", "failed")[told]
    return share_of(failed, sample.due_groups.of(told), confidence=confidence), len(failed)


def _kept(objective: ObjectiveConfig) -> Compared:
    """Return the share of the requests due that kept an objective, failed ones included."""

    def estimate(sample: Sample, confidence: float) -> tuple[Estimate, int]:
        told, good = request_trials(objective, sample.due)
        found = share_of(good[told], sample.due_groups.of(told), confidence=confidence)
        return found, int(told.sum())

    return Compared(f"Good by {objective.name}", "share", 1, estimate, is_of_finished=False)


def _objectives_of(before: RunFolder, after: RunFolder) -> list[ObjectiveConfig]:
    """Return the objectives of requests that both runs have."""
    one, other = (_slo_of(folder) for folder in (before, after))
    return [each for each in one if each in other and each.metric not in COMPLETIONS]


def _slo_of(folder: RunFolder) -> list[ObjectiveConfig]:
    try:
        return [ObjectiveConfig.model_validate(each) for each in folder.run()["experiment"]["slo"]]
    except (OSError, KeyError, TypeError, ValueError):
        return []


FAILED = Compared("Failed requests", "share", -1, _failed_share, is_of_finished=False)
COMPARED = (
    FAILED,
    _quantile("Effective TTFT", effective_ttft_s, 0.5),
    _quantile("Effective TTFT", effective_ttft_s, 0.95),
    _quantile("TTFT on the wire", ttft_s, 0.5),
    _quantile("TTFT on the wire", ttft_s, 0.95),
    _quantile("Time per output token", tpot_s, 0.5),
    _quantile("Time per output token", tpot_s, 0.95),
    _quantile("Whole turn", e2e_s, 0.95),
    Compared("Hit rate", "share", 1, _hit_rate),
    Compared("Requests", "per_s", 1, _rate_of(None)),
    Compared("Output tokens", "per_s", 1, _rate_of("output_tokens")),
)


def _per_s(value: float | None) -> str:
    return UNKNOWN if value is None else f"{round(value, 9) + 0.0:.4g} /s"


SHOWN: dict[str, Callable[[float | None], str]] = {"s": seconds, "share": share, "per_s": _per_s}
"""How a figure of each unit is written."""


def difference_row(each: Difference) -> tuple[str, ...]:
    """Return a difference as cells: figure, both values, their difference, its interval, the verdict."""
    show = SHOWN[each.unit]
    low, high = (
        UNKNOWN if abs(end) == float("inf") else show(end) for end in (each.change.low, each.change.high)
    )
    return (
        each.label,
        show(each.before.value),
        show(each.after.value),
        show(each.change.value),
        f"{low} … {high}",
        each.verdict,
    )
