"""What a workload's tokens cost under a price list, by how long the provider is paid to keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from swarm.config.prices import PricesConfig
from swarm.reuse.curves import TtlResult
from swarm.reuse.survey import Surveyed
from swarm.units import US_PER_S

_MTOK = 1_000_000


def cost_table(surveyed: Surveyed, results: Sequence[TtlResult], prices: PricesConfig) -> dict[str, Any]:
    """Return the cost without a cache and with each TTL; null for a TTL that no price covers.

    A hit is a read and refreshes for nothing; all other tokens of blocks with an id are written, at the price
    of the shortest offered TTL that is long enough; what has no id is plain input.
    """
    inputs = int(surveyed.input_tokens.sum())
    outputs = int(surveyed.output_tokens.sum()) * prices.output_per_mtok / _MTOK
    hashed = _in_blocks(surveyed)
    plain = inputs * prices.input_per_mtok / _MTOK + outputs
    rows = []
    for result in results:
        write = _write_price(prices, result.ttl_us)
        cost = None
        if write is not None:
            cost = (
                outputs
                + (
                    result.hit_tokens * prices.cache_read_per_mtok
                    + (hashed - result.hit_tokens) * write
                    + (inputs - hashed) * prices.input_per_mtok
                )
                / _MTOK
            )
        rows.append(
            {
                "ttl_s": None if result.ttl_us is None else result.ttl_us / US_PER_S,
                "write_per_mtok": write,
                "cost": cost,
                "cost_per_session": None if cost is None else cost / max(1, len(surveyed.session_ids)),
                "share_of_uncached": cost / plain if cost is not None and plain else None,
            }
        )
    return {
        "currency": prices.currency,
        "prices": prices.model_dump(),
        "uncached": plain,
        "output": outputs,
        "ttl": rows,
    }


def _in_blocks(surveyed: Surveyed) -> int:
    """Return the input tokens of blocks with an id; a last block may be counted whole, beyond the input."""
    requests = surveyed.reuse.requests
    return int(np.minimum(requests.tokens, surveyed.input_tokens[requests.number]).sum())


def _write_price(prices: PricesConfig, ttl_us: int | None) -> float | None:
    if ttl_us is None:
        return None
    offers = [(write.ttl_s, write.per_mtok) for write in prices.cache_writes]
    covering = sorted(offer for offer in offers if offer[0] * US_PER_S >= ttl_us)
    return covering[0][1] if covering else None
