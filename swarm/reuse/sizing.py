"""How much memory a hit rate takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm.reuse.curves import TtlResult, hits_by_capacity
from swarm.reuse.prefix_reuse import Reuse
from swarm.units import GIB, US_PER_S


def capacity_for(reuse: Reuse, hit_tokens: float) -> int | None:
    """Return the smallest LRU pool, in tokens, that hits so many; None where no size does."""
    if hits_by_capacity(reuse, None) < hit_tokens:
        return None
    low, high = -1, int(reuse.requests.new_tokens.sum())
    while high - low > 1:
        middle = (low + high) // 2
        if hits_by_capacity(reuse, middle) >= hit_tokens:
            high = middle
        else:
            low = middle
    return high


def sizing_table(
    reuse: Reuse,
    results: Sequence[TtlResult],
    *,
    input_tokens: int,
    targets: Sequence[float],
    kv_bytes_per_token: float,
) -> dict[str, Any]:
    """Return GiB by target hit rate and by TTL.

    Read as a hierarchy of inclusive tiers, target by target: a tier adds `added_gib` to those above it.
    """
    rows = []
    below = 0.0
    for target in sorted(targets):
        capacity = capacity_for(reuse, target * input_tokens)
        gib = None if capacity is None else capacity * kv_bytes_per_token / GIB
        rows.append(
            {
                "hit_rate": target,
                "capacity_tokens": capacity,
                "gib": gib,
                "added_gib": None if gib is None else gib - below,
            }
        )
        below = gib if gib is not None else below
    scale = kv_bytes_per_token / GIB
    return {
        "kv_bytes_per_token": kv_bytes_per_token,
        "targets": rows,
        "ttl": [
            {
                "ttl_s": None if result.ttl_us is None else result.ttl_us / US_PER_S,
                "working_set_mean_gib": result.holding.mean * scale,
                "working_set_peak_gib": result.holding.peak * scale,
            }
            for result in results
        ],
    }
