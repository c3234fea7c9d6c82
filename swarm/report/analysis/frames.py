"""Rows that the analysis charts draw, small whatever the size of the workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from swarm.reuse.curves import TtlResult, hits_by_capacity, hits_by_ttl, level_at
from swarm.reuse.optimum import optimal_hits
from swarm.reuse.prefix_reuse import Column
from swarm.reuse.survey import Surveyed
from swarm.units import US_PER_S

Row = dict[str, Any]
_TIME_POINTS = 160
_CAPACITY_POINTS = 60
_CDF_POINTS = 120
_TIMELINE_ROWS_MAX = 12_000


def ttl_label(ttl_us: int | None) -> str:
    """Return a TTL as a reader says it."""
    if ttl_us is None:
        return "no limit"
    seconds = ttl_us / US_PER_S
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def working_set_rows(surveyed: Surveyed, results: Sequence[TtlResult]) -> list[Row]:
    """Return what each TTL holds, at instants that lie closer where the workload is young."""
    end_us = max(1, int(surveyed.at_us.max()))
    first_us = min(US_PER_S, end_us)
    instants = np.unique(np.geomspace(first_us, end_us, _TIME_POINTS).astype(np.int64))
    return [
        {"ttl": ttl_label(result.ttl_us), "time_s": int(at_us) / US_PER_S, "tokens": int(tokens)}
        for result in results
        for at_us, tokens in zip(instants, level_at(result.holding, instants), strict=True)
    ]


def capacity_rows(surveyed: Surveyed, capacities: Sequence[int | None]) -> list[Row]:
    """Return the hit rate by capacity, and under optimal eviction; `asked` marks what was asked for."""
    unique = int(surveyed.reuse.requests.new_tokens.sum())
    sizes = {
        int(size) for size in np.geomspace(max(1, unique / 2000), max(2, unique * 1.2), _CAPACITY_POINTS)
    }
    asked = {size for size in capacities if size}
    total = max(1, int(surveyed.input_tokens.sum()))
    every = sorted(sizes | asked)
    return [
        {
            "capacity_tokens": size,
            "hit_rate": hits_by_capacity(surveyed.reuse, size) / total,
            "optimal_hit_rate": best / total,
            "asked": size in asked,
        }
        for size, best in zip(every, optimal_hits(surveyed.reuse, every), strict=True)
    ]


def cdf_rows(samples: dict[str, Any]) -> list[Row]:
    """Return each sample's distribution function at quantiles, closer in the tail."""
    shares = np.unique(np.concatenate((np.linspace(0, 1, _CDF_POINTS), 1 - np.geomspace(1e-4, 0.1, 40))))
    rows: list[Row] = []
    for name, sample in samples.items():
        if len(sample):
            values = np.quantile(sample, shares)
            rows += [
                {"kind": name, "value": float(value), "share": float(share)}
                for value, share in zip(values, shares, strict=True)
            ]
    return rows


def timeline_rows(surveyed: Surveyed, results: Sequence[TtlResult]) -> tuple[list[Row], list[str]]:
    """Return requests of chosen sessions, and those sessions, the longest first.

    Where there are too many requests for a page, every k-th session by length is taken.
    """
    sizes = np.bincount(surveyed.session, minlength=len(surveyed.session_ids))
    by_size = np.argsort(-sizes, kind="stable")
    step = max(1, -(-int(sizes.sum()) // _TIMELINE_ROWS_MAX))
    chosen = by_size[::step][sizes[by_size[::step]] > 0]
    names = _names(surveyed, chosen)
    cached = {ttl_label(result.ttl_us): _cached(surveyed, result.ttl_us) for result in results}
    taken = np.flatnonzero(np.isin(surveyed.session, chosen))
    taken = taken[np.lexsort((surveyed.at_us[taken], surveyed.session[taken]))]
    firsts = np.searchsorted(surveyed.session[taken], surveyed.session[taken])
    rows = []
    for index, (row, first) in enumerate(zip(taken.tolist(), firsts.tolist(), strict=True)):
        inputs = int(surveyed.input_tokens[row])
        shared = {
            "session": names[int(surveyed.session[row])],
            "n": index - first,
            "time_s": int(surveyed.at_us[row]) / US_PER_S,
            "agent": "sub-agent" if surveyed.is_subagent[row] else "orchestrator",
            "input": inputs,
            "output": int(surveyed.output_tokens[row]),
        }
        rows.append(
            shared | {f"cached_{index}": int(hits[row]) for index, hits in enumerate(cached.values())}
        )
    return rows, [names[int(session)] for session in chosen]


def _names(surveyed: Surveyed, chosen: Column) -> dict[int, str]:
    """Return a distinct name for each session: its id, and its number where ids repeat."""
    ids = [surveyed.session_ids[int(session)] for session in chosen]
    return {
        int(session): name if ids.count(name) == 1 else f"{name} ({int(session)})"
        for session, name in zip(chosen, ids, strict=True)
    }


def _cached(surveyed: Surveyed, ttl_us: int | None) -> Column:
    """Return the tokens that each request hits, in file order."""
    reuse = surveyed.reuse
    size = len(reuse.requests.number)
    hits = np.bincount(reuse.pieces.request, weights=hits_by_ttl(reuse, ttl_us), minlength=size)
    cached = np.zeros(len(surveyed.at_us), dtype=np.int64)
    cached[reuse.requests.number] = hits.astype(np.int64)
    return cached
