"""One check of a level of load: how surely each objective is held, and whether the level has settled.

Requests of one time met the same queue, so they are not independent: the variance of a share is taken from
batches of time (batch means), and the interval is Wilson's with as many trials as that variance is worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from swarm.config.slo import ObjectiveConfig
from swarm.hit_names import LOST_TO
from swarm.measure.intervals import t_quantile
from swarm.measure.latency import Floats, Selection, flags, floats
from swarm.measure.slo import Trials, trials_of

BATCHES = 10
"""Stretches of a check: few, so that a queue has forgotten one in the next."""
CACHE_LOSSES = ("ttl", "capacity", "routing", "dropped_write")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a check says of one objective: the share of good trials, its interval, and the share required."""

    name: str
    metric: str
    value: float
    low: float
    high: float
    required: float
    count: int


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """What was seen of a level in [from_s, to_s)."""

    agents: int
    from_s: float
    to_s: float
    requests: int
    evidence: tuple[Evidence, ...]
    hit_rate: float | None
    hit_drift: float
    """By how much the hit rate of the second half differs, beyond what its batches' spread explains."""
    occupancy: float | None
    """Mean share of HBM's blocks that were in use."""
    occupancy_drift: float
    rate_limited_share: float
    """Requests that were told to come back later, or failed for it."""
    cache_loss_share: float
    """Computed prompt tokens that a larger, or longer-lived, cache would have held."""
    failures: str = ""
    """Why the level has failed whatever its objectives say: too many requests failed; empty where not."""


def share_interval(
    trials: Trials, from_s: float, to_s: float, confidence: float
) -> tuple[float, float, float]:
    """Return the share of good trials with its interval; nothing known is (nan, 0, 1)."""
    count = len(trials.good)
    if not count:
        return math.nan, 0.0, 1.0
    good = trials.good.astype(np.float64)
    share = float(good.mean())
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    worth = float(count)
    if 0.0 < share < 1.0:
        length_s = max(to_s - from_s, 1e-9) / BATCHES
        batch = np.clip((trials.at_s - from_s) // length_s, 0, BATCHES - 1).astype(np.intp)
        residuals = np.bincount(batch, weights=good - share, minlength=BATCHES)
        variance = BATCHES / (BATCHES - 1) * float((residuals**2).sum()) / count**2
        alone = share * (1.0 - share) / count
        # Never more trials than there were; a spread below chance's is luck.
        if variance > alone:
            worth = count * alone / variance
            z = t_quantile(confidence, BATCHES - 1)  # The spread is known from ten batches only.
    middle = (share + z * z / (2 * worth)) / (1 + z * z / worth)
    reach = z / (1 + z * z / worth) * math.sqrt(share * (1 - share) / worth + z * z / (4 * worth * worth))
    return share, max(0.0, middle - reach), min(1.0, middle + reach)


def check_level(
    rows: pa.Table,
    objectives: Sequence[ObjectiveConfig],
    *,
    agents: int,
    from_s: float,
    to_s: float,
    confidence: float,
    occupancy: Sequence[float],
    failed_share_max: float,
    expects_429: bool,
) -> LevelCheck:
    """Return what the requests that ended in [from_s, to_s) say.

    A level has failed where the share of failed requests is beyond `failed_share_max` with the confidence;
    refusals of a plan that the experiment states (`expects_429`) count for objectives alone.
    """
    ended_s = floats(rows, "completed_s")
    keep = (ended_s >= from_s) & (ended_s < to_s) & ~flags(rows, "outcome", "interrupted")
    keep &= ~flags(rows, "kind", "primer")
    ended = Selection(rows, keep)
    evidence = []
    for objective in objectives:
        trials = trials_of(objective, ended)
        value, low, high = share_interval(trials, from_s, to_s, confidence)
        evidence.append(
            Evidence(objective.name, objective.metric, value, low, high, trials.required, len(trials.good))
        )
    hit_rate, hit_drift = _hits(ended, from_s, to_s)
    half = len(occupancy) // 2
    return LevelCheck(
        agents=agents,
        from_s=from_s,
        to_s=to_s,
        requests=ended.num_rows,
        evidence=tuple(evidence),
        hit_rate=hit_rate,
        hit_drift=hit_drift,
        occupancy=float(np.mean(occupancy)) if len(occupancy) else None,
        occupancy_drift=_drift(np.array(occupancy[:half]), np.array(occupancy[half:])),
        rate_limited_share=_rate_limited(ended),
        cache_loss_share=_cache_losses(ended),
        failures=_failures(ended, from_s, to_s, confidence, failed_share_max, expects_429),
    )


def _failures(
    ended: Selection, from_s: float, to_s: float, confidence: float, most: float, expects_429: bool
) -> str:
    """Return why a level has failed for its failed requests, or nothing."""
    finished = flags(ended, "outcome", "ok")
    if expects_429:
        finished |= flags(ended, "error_class", "http_429")
    if finished.all():
        return ""
    trials = Trials(finished, floats(ended, "completed_s"), 1.0 - most)
    share, _, high = share_interval(trials, from_s, to_s, confidence)
    if high >= trials.required:
        return ""
    return f"{1.0 - share:.1%} of requests failed, more than audit.failed_share: {most:g}"


def _hits(ended: Selection, from_s: float, to_s: float) -> tuple[float | None, float]:
    known = ended.knowing("cached_tokens")
    prompt, cached = floats(known, "prompt_tokens"), floats(known, "cached_tokens")
    if not prompt.sum():
        return None, 0.0
    length_s = max(to_s - from_s, 1e-9) / BATCHES
    batch = np.clip((floats(known, "completed_s") - from_s) // length_s, 0, BATCHES - 1).astype(np.intp)
    whole = np.bincount(batch, weights=prompt, minlength=BATCHES)
    hits = np.bincount(batch, weights=cached, minlength=BATCHES)
    rates = np.divide(hits, whole, out=np.zeros(BATCHES), where=whole > 0)
    half = BATCHES // 2
    return float(cached.sum() / prompt.sum()), _drift(rates[:half], rates[half:])


def _drift(first: Floats, second: Floats) -> float:
    """Return the difference of two means beyond twice its standard error."""
    if len(first) < 2 or len(second) < 2:
        return 0.0
    error = math.sqrt(float(first.var(ddof=1)) / len(first) + float(second.var(ddof=1)) / len(second))
    return max(0.0, abs(float(second.mean() - first.mean())) - 2.0 * error)


def _rate_limited(ended: Selection) -> float:
    if not ended.num_rows:
        return 0.0
    waited = floats(ended, "retry_wait_s") > 0
    refused = np.array(["429" in (name or "") for name in ended.column("error_class").to_pylist()])
    return float((waited | refused).mean())


def _cache_losses(ended: Selection) -> float:
    known = ended.knowing(f"lost_tokens_{LOST_TO[0]}")
    computed = float((floats(known, "prompt_tokens") - floats(known, "cached_tokens")).sum())
    lost = sum(float(floats(known, f"lost_tokens_{cause}").sum()) for cause in CACHE_LOSSES)
    return lost / computed if computed > 0 else 0.0
