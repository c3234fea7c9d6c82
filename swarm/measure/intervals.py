"""Confidence intervals for figures of requests that are not independent.

A session's requests are alike, and so are those of one time, which met the same queue. So the variance is
robust against both: clusters by session and by stretch of time (Cameron, Gelbach and Miller, "Robust
inference with multiway clustering", 2011). Deterministic, and a few passes over the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from swarm.measure.latency import Flags, Floats

Clusters = npt.NDArray[np.intp]
"""The cluster of each row, numbered from 0 without gaps."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Which session and which stretch of time each row is of."""

    sessions: Clusters
    times: Clusters

    def of(self, keep: Flags) -> Groups:
        """Return the groups of some of the rows."""
        return Groups(numbered(self.sessions[keep]), numbered(self.times[keep]))


def numbered(names: npt.NDArray[Any]) -> Clusters:
    """Return each row's cluster, from any names."""
    return np.unique(names, return_inverse=True)[1]


def stretches(at_s: Floats, *, from_s: float, to_s: float) -> Clusters:
    """Return the stretch of time of each row, `BATCHES` of equal length, numbered without gaps."""
    length_s = max(to_s - from_s, 1e-9) / BATCHES
    return numbered(np.clip((at_s - from_s) // length_s, 0, BATCHES - 1).astype(np.intp))


BATCHES = 10
"""Stretches of time: few, so that a queue has forgotten one in the next."""
CLUSTERS_LEAST = 5
"""With fewer, the spread between clusters says too little: an interval is infinite then."""


def supports(count: int, share: float) -> bool:
    """Return whether so many observations have a quantile: at least one of them lies beyond it.

    A p95 takes 20, a p99 100: with fewer it is the largest value, or an interpolation up to it.
    """
    return count * min(share, 1.0 - share) >= 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; infinite ends where there is too little to tell."""

    value: float
    low: float
    high: float


def t_quantile(confidence: float, degrees: int) -> float:
    """Return the two-sided quantile of Student's t; Abramowitz and Stegun, 26.7.5; within 1 % from 4 on."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


def ratio(parts: Floats, wholes: Floats, groups: Groups, *, confidence: float) -> Estimate:
    """Return sum(parts) / sum(wholes): a hit rate, or with wholes of 1 a mean.

    The variance is that of the ratio estimator (Cochran, "Sampling Techniques", 6.4) over both clusters.
    """
    whole = float(wholes.sum())
    value = float(parts.sum()) / whole if whole else math.nan
    residuals = parts - value * wholes
    found = _variance(residuals, groups) if whole else None
    if found is None:
        return Estimate(value, -math.inf, math.inf)
    variance, degrees = found
    reach = t_quantile(confidence, degrees) * math.sqrt(variance) / whole
    return Estimate(value, value - reach, value + reach)


def share(flagged: Flags, groups: Groups, *, confidence: float) -> Estimate:
    """Return the share of rows that are flagged.

    Where all or none are, clusters have no spread: the interval is at least Wilson's, which never ends there.
    """
    found = ratio(flagged.astype(np.float64), np.ones(len(flagged)), groups, confidence=confidence)
    if math.isinf(found.high) or not len(flagged):
        return found
    count, z = len(flagged), NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = (found.value + z * z / (2 * count)) / (1 + z * z / count)
    spread = found.value * (1 - found.value) / count + z * z / (4 * count * count)
    reach = z / (1 + z * z / count) * math.sqrt(spread)
    return Estimate(found.value, min(found.low, middle - reach), max(found.high, middle + reach))


def total(parts: Floats, groups: Groups, *, confidence: float) -> Estimate:
    """Return sum(parts), whose clusters are the sample: sessions were as many as they were, by plan."""
    value = float(parts.sum())
    found = _variance_of_total(parts, groups) if len(parts) else None
    if found is None:
        return Estimate(value, -math.inf, math.inf)
    variance, degrees = found
    reach = t_quantile(confidence, degrees) * math.sqrt(variance)
    return Estimate(value, value - reach, value + reach)


def _variance(residuals: Floats, groups: Groups) -> tuple[float, int] | None:
    """Return the variance of the residuals' sum and its degrees of freedom; None with too few clusters."""
    both = groups.sessions * (int(groups.times.max()) + 1) + groups.times
    sessions, times, crossed = (
        np.bincount(clusters, weights=residuals)
        for clusters in (groups.sessions, groups.times, numbered(both))
    )
    count = min(len(sessions), len(times))
    if count < CLUSTERS_LEAST:
        return None
    by_session, by_time, by_both = (
        len(sums) / (len(sums) - 1) * float((sums**2).sum()) for sums in (sessions, times, crossed)
    )
    return max(by_session, by_time, by_session + by_time - by_both), count - 1


def _variance_of_total(parts: Floats, groups: Groups) -> tuple[float, int] | None:
    sums = [np.bincount(clusters, weights=parts) for clusters in (groups.sessions, groups.times)]
    count = min(map(len, sums))
    if count < CLUSTERS_LEAST:
        return None
    return sum(len(each) * float(each.var(ddof=1)) for each in sums), count - 1


def quantile(values: Floats, share: float, groups: Groups, *, confidence: float) -> Estimate:
    """Return a quantile; the interval is that of the share below it, read off the values (Woodruff, 1952)."""
    if not len(values):
        return Estimate(math.nan, -math.inf, math.inf)
    ordered = np.sort(values)
    value = float(ordered[_place(share, len(ordered))])
    below = (values <= value).astype(np.float64)
    spread = ratio(below, np.ones_like(below), groups, confidence=confidence)
    if math.isinf(spread.high):
        return Estimate(value, -math.inf, math.inf)
    reach = spread.high - spread.value
    low, high = share - reach, share + reach
    return Estimate(
        value,
        float(ordered[_place(low, len(ordered))]) if low > 0 else -math.inf,
        float(ordered[_place(high, len(ordered))]) if high < 1 else math.inf,
    )


def difference(before: Estimate, after: Estimate) -> Estimate:
    """Return after - before of two independent runs, from both intervals (MOVER: Zou and Donner, 2008)."""
    value = after.value - before.value
    low = math.hypot(after.value - after.low, before.high - before.value)
    high = math.hypot(after.high - after.value, before.value - before.low)
    return Estimate(value, value - low, value + high)


def _place(share: float, count: int) -> int:
    return min(count - 1, max(0, math.ceil(share * count) - 1))
