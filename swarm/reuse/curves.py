"""What a TTL or a capacity would do to a workload, from its pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.reuse.prefix_reuse import Column, Reuse
from swarm.units import US_PER_S


@dataclass(frozen=True, slots=True)
class Holding:
    """Tokens held over time: `tokens[i]` from `at_us[i]` on, until the next row."""

    at_us: Column
    tokens: Column
    mean: float
    peak: int


@dataclass(frozen=True, slots=True)
class TtlResult:
    """A cache without limit of space that forgets what was not used for `ttl_us` (None: never)."""

    ttl_us: int | None
    hit_tokens: int
    computed_mean: float | None
    computed_max: int | None
    holding: Holding


def hits_by_ttl(reuse: Reuse, ttl_us: int | None) -> Column:
    """Return, for each piece, the tokens that it hits; the end of its TTL still holds a block."""
    pieces = reuse.pieces
    tokens = pieces.tokens - pieces.overhang
    return tokens if ttl_us is None else np.where(_ages_us(reuse) <= ttl_us, tokens, 0)


def hits_by_capacity(reuse: Reuse, capacity_tokens: int | None) -> int:
    """Return the tokens hit in one LRU pool of `capacity_tokens`; None: without limit."""
    pieces = reuse.pieces
    if len(pieces.blocks) == 0:
        return 0
    if capacity_tokens is None:
        return int((pieces.tokens - pieces.overhang).sum())
    block_tokens = pieces.tokens // pieces.blocks
    blocks = np.clip((capacity_tokens - pieces.above) // block_tokens, 0, pieces.blocks)
    hits = blocks * block_tokens - np.where(blocks == pieces.blocks, pieces.overhang, 0)
    return int(hits.sum())


def by_ttl(reuse: Reuse, ttl_us: int | None) -> TtlResult:
    """Return hits, re-computations and the working set under one TTL."""
    total = int(reuse.requests.blocks.sum())
    hit = reuse.pieces.blocks if ttl_us is None else reuse.pieces.blocks[_ages_us(reuse) <= ttl_us]
    unique = reuse.unique_blocks
    return TtlResult(
        ttl_us=ttl_us,
        hit_tokens=int(hits_by_ttl(reuse, ttl_us).sum()),
        computed_mean=(total - int(hit.sum())) / unique if unique else None,
        computed_max=None if not unique else 1 if ttl_us is None else reuse.computed_max[ttl_us],
        holding=working_set(reuse, ttl_us),
    )


def working_set(reuse: Reuse, ttl_us: int | None) -> Holding:
    """Return what is held from the first request to the last: each block from a use to that use + TTL."""
    requests, pieces = reuse.requests, reuse.pieces
    if len(requests.at_us) == 0:
        return Holding(np.zeros(0, np.int64), np.zeros(0, np.int64), 0.0, 0)
    end_us = int(requests.at_us[-1])
    left = requests.tokens - _taken(reuse)
    ages = _ages_us(reuse)
    rest_us = end_us - requests.at_us
    is_lost = np.zeros(len(ages), bool) if ttl_us is None else ages > ttl_us
    starts_us = np.concatenate((requests.at_us, requests.at_us[pieces.request[is_lost]]))
    started = np.concatenate((requests.new_tokens, pieces.tokens[is_lost]))
    ends_us = np.zeros(0, np.int64)
    ended = np.zeros(0, np.int64)
    if ttl_us is not None:
        ages, rest_us, is_over = np.minimum(ages, ttl_us), np.minimum(rest_us, ttl_us), rest_us > ttl_us
        ends_us = ttl_us + np.concatenate((requests.at_us[pieces.source[is_lost]], requests.at_us[is_over]))
        ended = np.concatenate((pieces.tokens[is_lost], left[is_over]))
    # Microseconds times tokens pass 2^63 on traces of weeks; as floats they keep 15 digits.
    held = float(pieces.tokens.astype(float) @ ages) + float(left.astype(float) @ rest_us)
    at_us, tokens = _levels(starts_us, started, ends_us, ended)
    peak = int(tokens.max(initial=0))
    return Holding(at_us, tokens, held / end_us if end_us else float(peak), peak)


def _levels(starts_us: Column, started: Column, ends_us: Column, ended: Column) -> tuple[Column, Column]:
    """Return the level after each event; at one instant all starts come first, so that expiry counts."""
    at_us = np.concatenate((starts_us, ends_us))
    change = np.concatenate((started, -ended))
    order = np.lexsort((change < 0, at_us))
    return at_us[order], np.cumsum(change[order])


def level_at(holding: Holding, at_us: NDArray[np.int64]) -> Column:
    """Return the tokens held at the given instants, after what happens in them."""
    index = np.searchsorted(holding.at_us, at_us, side="right")
    return np.concatenate((np.zeros(1, np.int64), holding.tokens))[index]


def ttl_us(ttl_s: float | None) -> int | None:
    """Return a TTL in whole microseconds."""
    return None if ttl_s is None else round(ttl_s * US_PER_S)


def _ages_us(reuse: Reuse) -> Column:
    at_us = reuse.requests.at_us
    return at_us[reuse.pieces.request] - at_us[reuse.pieces.source]


def _taken(reuse: Reuse) -> Column:
    """Return how many tokens of each request's path were used again later."""
    size = len(reuse.requests.at_us)
    return np.bincount(reuse.pieces.source, weights=reuse.pieces.tokens, minlength=size).astype(np.int64)
