"""What a run's requests cost under a price list, and how long its agents waited for a provider's limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.config.prices import PricesConfig
from swarm.measure.latency import Columns, flags, floats

_MTOK = 1e6


def cost_of(
    finished: Columns, prices: PricesConfig | None, *, ttl_s: float | None, block_tokens: int
) -> dict[str, Any] | None:
    """Return the cost of finished requests; None without prices, for a TTL that none covers, or unknown hits.

    Hits are billed as cache reads, the other whole blocks as writes that are kept for `ttl_s` (without a TTL
    as plain input), the rest of a prompt as input.
    """
    write_per_mtok = None if prices is None else write_price(prices, ttl_s)
    cached = floats(finished, "cached_tokens")
    if prices is None or write_per_mtok is None or not len(cached) or np.isnan(cached).any():
        return None
    prompt = floats(finished, "prompt_tokens")
    written = np.maximum(prompt // block_tokens * block_tokens - cached, 0.0)
    parts = {
        "input": float((prompt - cached - written).sum()) * prices.input_per_mtok / _MTOK,
        "cache_write": float(written.sum()) * write_per_mtok / _MTOK,
        "cache_read": float(cached.sum()) * prices.cache_read_per_mtok / _MTOK,
        "output": float(floats(finished, "output_tokens").sum()) * prices.output_per_mtok / _MTOK,
    }
    sessions = len(set(finished.column("session").to_pylist()))
    total = sum(parts.values())
    return {
        "currency": prices.currency,
        "cache_ttl_s": ttl_s,
        "total": total,
        **parts,
        "per_session": total / sessions,
        "per_request": total / len(prompt),
    }


def write_price(prices: PricesConfig, ttl_s: float | None) -> float | None:
    """Return the price of the shortest offer that keeps a token so long; None if there is none."""
    if ttl_s is None:
        return prices.input_per_mtok
    offers = [(write.ttl_s, write.per_mtok) for write in prices.cache_writes if write.ttl_s >= ttl_s]
    return min(offers)[1] if offers else None


def rate_limited(measured: Columns, *, to_s: float, agent_s: float | None) -> dict[str, Any]:
    """Return what waiting to try again took, up to the end of the measured phase at `to_s`.

    A request counts if it waited there, for whatever failure is tried again, or gave up on a 429; so does one
    that the run's end cut off in its wait. `agent_s` is the time that all agents were alive together:
    `share_of_time` is the share of their lives that they spent rate-limited ("token anxiety").
    """
    waits_s = floats(measured, "retry_wait_s")
    waits_s = waits_s - np.clip(floats(measured, "due_s") - to_s, 0.0, waits_s)
    gave_up = flags(measured, "error_class", "http_429")
    waited_s = float(waits_s.sum())
    return {
        "requests": int(((waits_s > 0.0) | gave_up).sum()),
        "gave_up": int(gave_up.sum()),
        "waited_s": waited_s,
        "share_of_time": waited_s / agent_s if agent_s else None,
    }
