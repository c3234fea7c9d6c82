"""Recorded and sampled sessions against each other: distributions, hit rates, re-prefills."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.reuse.curves import by_ttl, hits_by_capacity, ttl_us
from swarm.reuse.survey import Survey, Surveyed
from swarm.units import US_PER_S
from swarm.workload.formats import fail
from swarm.workload.recorded import RecordedSession

TTLS_S: tuple[float | None, ...] = (60.0, 300.0, 3600.0, None)
CAPACITIES = (500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000, 50_000_000)


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared of a set of sessions."""

    surveyed: Surveyed
    samples: dict[str, NDArray[Any]]
    ttl_hit_rates: tuple[float, ...]
    reprefills: tuple[float, ...]
    lru_hit_rates: tuple[float, ...]


def summed_up(sessions: Iterable[RecordedSession]) -> Compared:
    """Return what is compared, by the same means as `swarm analyze`."""
    survey = Survey([ttl for ttl in map(ttl_us, TTLS_S) if ttl is not None], fail)
    for session in sessions:
        survey.add(session)
    surveyed = survey.finish()
    total = max(1, int(surveyed.input_tokens.sum()))
    results = [by_ttl(surveyed.reuse, ttl_us(ttl_s)) for ttl_s in TTLS_S]
    return Compared(
        surveyed=surveyed,
        samples=_samples(surveyed),
        ttl_hit_rates=tuple(result.hit_tokens / total for result in results),
        reprefills=tuple(result.computed_mean or 0.0 for result in results),
        lru_hit_rates=tuple(hits_by_capacity(surveyed.reuse, size) / total for size in CAPACITIES),
    )


def _samples(surveyed: Surveyed) -> dict[str, NDArray[Any]]:
    order = np.lexsort((surveyed.at_us, surveyed.agent))
    follows = np.flatnonzero(np.diff(surveyed.agent[order]) == 0) + 1
    at_us, inputs = surveyed.at_us[order], surveyed.input_tokens[order]
    think_s = surveyed.think_s[order][follows]
    return {
        "input tokens": surveyed.input_tokens,
        "output tokens": surveyed.output_tokens,
        "gap between requests (s)": (at_us[follows] - at_us[follows - 1]) / US_PER_S,
        "think time (s)": think_s[~np.isnan(think_s)],
        "growth per turn (tokens)": inputs[follows] - inputs[follows - 1],
        "requests per session": np.bincount(surveyed.session),
    }


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the two-sample Kolmogorov-Smirnov distance."""
    if len(one) == 0 or len(other) == 0:
        return 0.0 if len(one) == len(other) else 1.0
    at = np.concatenate((one, other))
    below = (np.searchsorted(np.sort(sample), at, "right") / len(sample) for sample in (one, other))
    return float(np.abs(np.subtract(*below)).max())


def as_json(recorded: Compared, sampled: Compared, seed: int) -> dict[str, Any]:
    """Return the comparison as plain values."""
    names = recorded.samples
    return {
        "seed": seed,
        "sessions": [len(one.surveyed.session_ids) for one in (recorded, sampled)],
        "requests": [len(one.surveyed.at_us) for one in (recorded, sampled)],
        "ks": {name: distance(recorded.samples[name], sampled.samples[name]) for name in names},
        "ttl": [
            {"ttl_s": ttl_s, "hit_rate": list(rates), "reprefill_mean": list(means)}
            for ttl_s, rates, means in zip(
                TTLS_S,
                zip(recorded.ttl_hit_rates, sampled.ttl_hit_rates, strict=True),
                zip(recorded.reprefills, sampled.reprefills, strict=True),
                strict=True,
            )
        ],
        "lru": [
            {"capacity_tokens": size, "hit_rate": list(rates)}
            for size, rates in zip(
                CAPACITIES, zip(recorded.lru_hit_rates, sampled.lru_hit_rates, strict=True), strict=True
            )
        ],
    }
