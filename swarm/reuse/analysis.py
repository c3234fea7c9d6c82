"""What a recorded workload is like, and what caches would make of it, as one JSON value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import TraceError
from swarm.reuse.curves import TtlResult, by_ttl, hits_by_capacity, ttl_us
from swarm.reuse.optimum import optimal_hits
from swarm.reuse.survey import Surveyed
from swarm.units import US_PER_S

GAP_S_LEAST, GAP_SHARE = 30 * 86_400, 0.9
"""A gap between requests of so long, and of such a share of the span, is told."""
_PERCENTILES = (5, 10, 25, 50, 75, 90, 95, 99)


def assemble(
    surveyed: Surveyed,
    *,
    ttls_s: Sequence[float | None],
    capacities: Sequence[int | None],
    broken: Sequence[TraceError],
) -> tuple[dict[str, Any], list[TtlResult]]:
    """Return the analysis, and the results by TTL in the order asked for."""
    input_tokens = int(surveyed.input_tokens.sum())
    results = [by_ttl(surveyed.reuse, ttl_us(ttl_s)) for ttl_s in ttls_s]
    analysis: dict[str, Any] = {
        "schema": 1,
        "sessions": len(surveyed.session_ids),
        "requests": len(surveyed.at_us),
        "subagents": surveyed.subagents,
        "input_tokens": input_tokens,
        "output_tokens": int(surveyed.output_tokens.sum()),
        "block_tokens": list(surveyed.block_tokens),
        "unique_blocks": surveyed.reuse.unique_blocks,
        "span_s": int(surveyed.at_us.max(initial=0)) / US_PER_S,
        "models": surveyed.models,
        "notes": _clock_told(surveyed.at_us),
        "broken": [{"path": error.path, "place": error.place, "reason": error.reason} for error in broken],
        "ttl": [_ttl_row(ttl_s, row, input_tokens) for ttl_s, row in zip(ttls_s, results, strict=True)],
        "lru": [
            {
                "capacity_tokens": capacity,
                "hit_rate": _rate(hits_by_capacity(surveyed.reuse, capacity), input_tokens),
            }
            for capacity in capacities
        ],
        "belady": [
            {"capacity_tokens": capacity, "hit_rate": _rate(hits, input_tokens)}
            for capacity, hits in zip(capacities, optimal_hits(surveyed.reuse, capacities), strict=True)
        ],
    }
    analysis.update(_distributions(surveyed))
    return analysis, results


def _clock_told(at_us: NDArray[np.int64]) -> list[str]:
    """Return a note where nearly all of the span is one gap: means over time are then of nothing."""
    gaps = np.diff(np.sort(at_us))
    longest = int(gaps.max(initial=0))
    if longest < GAP_S_LEAST * US_PER_S or longest < GAP_SHARE * int(at_us.max()):
        return []
    days = longest / US_PER_S / 86_400
    return [
        f"between two requests that follow each other lie {days:,.0f} days, nearly all of the span: a clock "
        "jumped, or traces of several times stand in one; means over time are of that gap: take them apart"
    ]


def _ttl_row(ttl_s: float | None, result: TtlResult, input_tokens: int) -> dict[str, Any]:
    return {
        "ttl_s": int(ttl_s) if ttl_s is not None and ttl_s.is_integer() else ttl_s,
        "hit_rate": _rate(result.hit_tokens, input_tokens),
        "reprefill_mean": result.computed_mean,
        "reprefill_max": result.computed_max,
        "working_set_mean_tokens": result.holding.mean,
        "working_set_peak_tokens": result.holding.peak,
    }


def _rate(hit_tokens: int, input_tokens: int) -> float | None:
    return hit_tokens / input_tokens if input_tokens else None


def _distributions(surveyed: Surveyed) -> dict[str, Any]:
    """Return gaps, growth, outputs and lengths; an agent's first request follows nothing, so has no gap."""
    order = np.lexsort((surveyed.at_us, surveyed.agent))
    agent = surveyed.agent[order]
    follows = np.flatnonzero(agent[1:] == agent[:-1]) + 1
    at_us, inputs = surveyed.at_us[order], surveyed.input_tokens[order]
    think_s = surveyed.think_s[order][follows]
    sessions = len(surveyed.session_ids)
    per_session = np.bincount(surveyed.session, minlength=sessions)
    firsts = np.setdiff1d(np.arange(len(order)), follows)
    first_of_main = firsts[~surveyed.is_subagent[order][firsts]]
    subagent_rows = surveyed.agent[surveyed.is_subagent]
    with_subagents = np.unique(surveyed.session[surveyed.is_subagent])
    length_us = np.zeros(sessions, dtype=np.int64)
    np.maximum.at(length_us, surveyed.session, surveyed.at_us)
    starts_us = length_us.copy()
    np.minimum.at(starts_us, surveyed.session, surveyed.at_us)
    length_us -= starts_us
    return {
        "think_time_s": describe(think_s[~np.isnan(think_s)]),
        "inter_arrival_s": describe((at_us[follows] - at_us[follows - 1]) / US_PER_S),
        "api_time_s": describe(surveyed.api_s[~np.isnan(surveyed.api_s)]),
        "requests_per_session": describe(per_session),
        "session_length_s": describe(length_us / US_PER_S),
        "input_tokens_per_request": describe(inputs),
        "output_tokens_per_request": describe(surveyed.output_tokens),
        "first_input_tokens": describe(inputs[first_of_main]),
        "growth_tokens": describe(inputs[follows] - inputs[follows - 1]),
        "new_tokens_per_request": describe(_never_seen(surveyed)),
        "requests_per_subagent": describe(np.unique(subagent_rows, return_counts=True)[1]),
        "sessions_with_subagents": len(with_subagents),
        "subagent_requests": len(subagent_rows),
    }


def _never_seen(surveyed: Surveyed) -> NDArray[np.int64]:
    """Return, for each request, the tokens that no cache could have held."""
    requests, pieces = surveyed.reuse.requests, surveyed.reuse.pieces
    held = np.bincount(
        pieces.request, weights=pieces.tokens - pieces.overhang, minlength=len(requests.number)
    )
    new = surveyed.input_tokens.copy()
    new[requests.number] -= held.astype(np.int64)
    return new


def describe(values: NDArray[Any]) -> dict[str, float | int | None]:
    """Return count, mean, extremes and linearly interpolated percentiles; null where there is nothing."""
    if len(values) == 0:
        return dict.fromkeys(("mean", "min", "max", *(f"p{p}" for p in _PERCENTILES))) | {"n": 0}
    row: dict[str, float | int | None] = {
        "n": len(values),
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
    }
    percentiles = np.percentile(values, _PERCENTILES).tolist()
    return row | {f"p{p}": value for p, value in zip(_PERCENTILES, percentiles, strict=True)}
