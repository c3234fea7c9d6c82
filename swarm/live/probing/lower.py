"""Memories below HBM: prompts are asked for again while HBM holds them, and when others have put them out.

What was put out and still counts as cached came from a lower tier. What it takes longer than a hit in HBM is
its load: a line over the tokens loaded. Of a load that overlaps with computing what is hidden is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from swarm.context.tree import Prompt
from swarm.fleet.cost.calibration import Floats, Rates, undisturbed
from swarm.live.probing.prober import REPLY_TOKENS, Prober, ttft_s

SHARES = (1 / 8, 1 / 2, 1.0)
"""Of the longest prompt that is probed: so many lengths."""
REPEATS = 3
POOL_PART = 8
"""The longest prompt that is probed is no more than so much of the pool: all of them fit at once."""
FILL = 1.25
"""Times the pool that is sent between the two questions."""
FILL_S_MAX = 240.0
TOKENS_MIN = 64
HELD_SHARE = 0.5
"""Of what hit in HBM: a prompt of which less is found was not kept."""
FOUND_SHARE = 0.5
"""Of the prompts that must be found for a tier to be told."""
SEEN_SHARE = 0.05
"""Of a hit's time: loads that take less cannot be told from hits in HBM. Nor can those within what repeats
of a hit are apart."""


@dataclass(frozen=True, slots=True)
class LowerProbe:
    """One length: tokens that were loaded, and the seconds to a first token by where they were."""

    tokens: int
    miss_s: float
    hit_s: float
    lower_s: float


@dataclass(frozen=True, slots=True)
class Lower:
    """What is known of memories below HBM."""

    told: str
    """In words."""
    probes: tuple[LowerProbe, ...]
    """None where no tier was seen."""
    latency_s: float
    token_s: float


def unseen(why: str) -> Lower:
    """Return that no lower tier was seen, and why."""
    return Lower(why, (), 0.0, 0.0)


async def lower_tier(
    prober: Prober,
    rates: Rates,
    *,
    longest_tokens: int,
    pool_tokens: int | None,
    engines: int,
) -> Lower:
    """Ask for prompts when they are new, in HBM, and put out of it."""
    if not prober.cached_seen:
        return unseen("the server does not say what is cached")
    if pool_tokens is None:
        return unseen("the size of the KV pool is not known, so nothing can be put out of it on purpose")
    if engines > 1:
        return unseen(f"{engines} engines: which of them is asked is not known")
    longest = min(longest_tokens, pool_tokens // POOL_PART)
    lengths = [tokens for tokens in (int(share * longest) for share in SHARES) if tokens >= TOKENS_MIN]
    fill_tokens = int(FILL * pool_tokens)
    fill_s = fill_tokens * rates.ttft_s(longest_tokens, 0) / longest_tokens
    if not lengths:
        return unseen(f"prompts of {longest:,} tokens, the longest that fit, tell no load from a hit")
    if fill_s > FILL_S_MAX:
        return unseen(f"to fill the KV pool would take {fill_s:.0f} s")
    prompts = [prober.fresh(tokens) for tokens in lengths for _ in range(REPEATS)]
    misses = [await _ask(prober, prompt) for prompt in prompts]
    hits = [await _ask(prober, prompt) for prompt in prompts]
    sent = 0
    while sent < fill_tokens:
        await prober.send(prober.fresh(longest_tokens), 1)
        sent += longest_tokens
    again = [await _ask(prober, prompt) for prompt in prompts]
    return lower_of(lengths, misses, hits, again)


async def _ask(prober: Prober, prompt: Prompt) -> tuple[float, int]:
    """Return a prompt's time to the first token, and what of it was cached."""
    await prober.pause()
    result = await prober.send(prompt, REPLY_TOKENS)
    return ttft_s(result), result.cached_tokens or 0


Asked = Sequence[tuple[float, int]]
"""Seconds and cached tokens, length by length, each `REPEATS` times."""


def lower_of(lengths: Sequence[int], misses: Asked, hits: Asked, again: Asked) -> Lower:
    """Return what the answers say: a line over loaded tokens, where they came from a lower tier."""
    kept = [late[1] >= HELD_SHARE * hit[1] > 0 for hit, late in zip(hits, again, strict=True)]
    if sum(kept) < FOUND_SHARE * len(kept):
        count = len(kept) - sum(kept)
        return unseen(f"{count} of {len(kept)} prompts that were put out of HBM were computed again")
    probes, is_seen = [], False
    for at, _ in enumerate(lengths):
        rows = range(at * REPEATS, (at + 1) * REPEATS)
        found = [row for row in rows if kept[row]]
        if not found:
            continue
        hits_s = [hits[row][0] for row in rows]
        probe = LowerProbe(
            int(median(again[row][1] for row in found)),
            undisturbed(misses[row][0] for row in rows),
            undisturbed(hits_s),
            undisturbed(again[row][0] for row in found),
        )
        probes.append(probe)
        apart_s = median(hits_s) - probe.hit_s
        is_seen = is_seen or probe.lower_s - probe.hit_s > max(SEEN_SHARE * probe.hit_s, apart_s)
    if not is_seen:
        return unseen("what was put out of HBM is found as fast as in it; is the pool larger than stated?")
    loads_s = np.array([max(0.0, probe.lower_s - probe.hit_s) for probe in probes])
    latency_s, token_s = _line(probes, loads_s)
    told = f"{sum(kept)} of {len(kept)} prompts came from a lower tier"
    return Lower(told, tuple(probes), latency_s, token_s)


def _line(probes: Sequence[LowerProbe], loads_s: Floats) -> tuple[float, float]:
    """Return a latency and seconds a token, neither negative, by least squares relative to the whole time."""
    weights = np.array([1.0 / probe.lower_s for probe in probes])
    rows = np.array([[1.0, probe.tokens] for probe in probes]) * weights[:, None]
    best, least = (0.0, 0.0), np.inf
    for columns in ([0, 1], [1], [0]):
        found, *_ = np.linalg.lstsq(rows[:, columns], loads_s * weights, rcond=None)
        error = float(np.square(rows[:, columns] @ found - loads_s * weights).sum())
        if (found >= 0).all() and error < least:
            both = dict(zip(columns, map(float, found), strict=True))
            best, least = (both.get(0, 0.0), both.get(1, 0.0)), error
    return best
