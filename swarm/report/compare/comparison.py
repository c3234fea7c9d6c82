"""Two runs against each other: which differences are outside their noise, and which are for the worse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarm.measure.intervals import (
    Estimate,
    Groups,
    difference,
    numbered,
    quantile,
    ratio,
    stretches,
    total,
)
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
from swarm.records.run_folder import RunFolder
from swarm.report.numbers import UNKNOWN, seconds, share

FAMILY_CONFIDENCE = 0.95
"""That no figure at all is called different by chance (Bonferroni over the figures)."""


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
    """better, worse, no difference, or undecided where too few sessions tell."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a run's figures are computed from: its finished, measured requests, in groups."""

    finished: Selection
    groups: Groups
    duration_s: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure that two runs are compared by; `better` is 1 when more is better, else -1."""

    label: str
    unit: str
    better: int
    estimate: Callable[[Sample, float], Estimate]


def compare(before: RunFolder, after: RunFolder) -> list[Difference]:
    """Return every figure that both runs have, with the difference's interval."""
    samples = sample_of(before), sample_of(after)
    confidence = 1 - (1 - FAMILY_CONFIDENCE) / len(COMPARED)
    found = []
    for each in COMPARED:
        one, other = (each.estimate(sample, confidence) for sample in samples)
        if math.isnan(one.value) or math.isnan(other.value):
            continue
        change = difference(one, other)
        found.append(Difference(each.label, each.unit, one, other, change, _verdict(change, each.better)))
    return found


def regressions(differences: list[Difference]) -> list[Difference]:
    """Return what became worse beyond noise."""
    return [each for each in differences if each.verdict == "worse"]


def sample_of(folder: RunFolder) -> Sample:
    """Return a run's sample."""
    table = folder.requests()
    finished = Selection(table, flags(table, "measured") & flags(table, "outcome", "ok"))
    names = finished.column("session").to_numpy(zero_copy_only=False)
    measured = folder.summary()["measured"]
    from_s, to_s = measured["from_s"], measured["to_s"]
    times = stretches(floats(finished, "intended_s"), from_s=from_s, to_s=to_s)
    return Sample(finished, Groups(numbered(names.astype(str)), times), to_s - from_s)


def _verdict(change: Estimate, better: int) -> str:
    if math.isinf(change.low) and math.isinf(change.high):
        return "undecided"
    if change.low <= 0 <= change.high:
        return "no difference"
    return "better" if (change.value > 0) == (better > 0) else "worse"


def _quantile_of(latency: Callable[[Selection], Floats], share: float) -> Callable[[Sample, float], Estimate]:
    def estimate(sample: Sample, confidence: float) -> Estimate:
        values = latency(sample.finished)
        known = ~np.isnan(values)
        return quantile(values[known], share, sample.groups.of(known), confidence=confidence)

    return estimate


def _hit_rate(sample: Sample, confidence: float) -> Estimate:
    cached, prompt = floats(sample.finished, "cached_tokens"), floats(sample.finished, "prompt_tokens")
    known = ~np.isnan(cached)
    return ratio(cached[known], prompt[known], sample.groups.of(known), confidence=confidence)


def _rate_of(column: str | None) -> Callable[[Sample, float], Estimate]:
    def estimate(sample: Sample, confidence: float) -> Estimate:
        weights = np.ones(sample.finished.num_rows)
        if column is not None:
            weights = floats(sample.finished, column)
        if sample.duration_s <= 0:
            return Estimate(math.nan, -math.inf, math.inf)
        return total(weights / sample.duration_s, sample.groups, confidence=confidence)

    return estimate


COMPARED = (
    Compared("Effective TTFT p50", "s", -1, _quantile_of(effective_ttft_s, 0.5)),
    Compared("Effective TTFT p95", "s", -1, _quantile_of(effective_ttft_s, 0.95)),
    Compared("TTFT on the wire p50", "s", -1, _quantile_of(ttft_s, 0.5)),
    Compared("TTFT on the wire p95", "s", -1, _quantile_of(ttft_s, 0.95)),
    Compared("Time per output token p50", "s", -1, _quantile_of(tpot_s, 0.5)),
    Compared("Time per output token p95", "s", -1, _quantile_of(tpot_s, 0.95)),
    Compared("Whole turn p95", "s", -1, _quantile_of(e2e_s, 0.95)),
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
