"""What a run's requests cost under a price list, and how long its agents waited for a provider's limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.config.prices import PricesConfig
from swarm.config.target import TTLS_S
from swarm.measure.latency import Columns, flags, floats

_MTOK = 1e6


def cost_of(
    finished: Columns, prices: PricesConfig | None, *, ttl_s: float | None, block_tokens: int
) -> dict[str, Any] | None:
    """Return the cost of finished requests; None without prices, for a TTL that none covers, or unknown hits.

    Hits are billed as cache reads. Where the server said what it wrote, that is billed by how long it is
    kept; else the other whole blocks are, as writes that are kept for `ttl_s` (without a TTL as plain input).
    The rest of a prompt is input.
    """
    cached = floats(finished, "cached_tokens")
    if prices is None or not len(cached) or np.isnan(cached).any():
        return None
    prompt = floats(finished, "prompt_tokens")
    told: tuple[tuple[float | None, float], ...] | None = _told_written(finished)
    if told is not None:
        ttl_s = None
    else:
        whole = prompt // block_tokens * block_tokens
        told = ((ttl_s, float(np.maximum(whole - cached, 0.0).sum())),)
    writes = [(tokens, write_price(prices, kept_s)) for kept_s, tokens in told]
    billed = [tokens * price for tokens, price in writes if price is not None]
    if len(billed) < len(writes):
        return None
    written = sum(tokens for tokens, _ in writes)
    parts = {
        "input": (float((prompt - cached).sum()) - written) * prices.input_per_mtok / _MTOK,
        "cache_write": sum(billed) / _MTOK,
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


def _told_written(finished: Columns) -> tuple[tuple[float | None, float], ...] | None:
    """Return seconds and tokens of what the server said it wrote; None unless it said so of every request.

    What was not written is left out: a price list need not offer what nobody asked for.
    """
    columns = [(ttl_s, floats(finished, f"written_{ttl}_tokens")) for ttl, ttl_s in TTLS_S.items()]
    if any(np.isnan(values).any() for _, values in columns):
        return None
    sums = [(ttl_s, float(values.sum())) for ttl_s, values in columns]
    return tuple((ttl_s, tokens) for ttl_s, tokens in sums if tokens)


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
