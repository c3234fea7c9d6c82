"""The size of a KV pool that nobody states, found by filling it.

Prompts are sent one after another until the first of them is no longer found. What is then found of them,
asked from the newest back, is what the pool holds: the least recently used go first.
"""

from __future__ import annotations

from swarm.live.probing.prober import Prober

FIRST_TOKENS = 16_384
POOL_TOKENS_MAX = 4_000_000
"""Up to where a pool is looked for."""
PARTS = 24
"""Prompts that a filling is made of, at the least."""


async def filled(
    prober: Prober, *, longest_tokens: int, pool_tokens_max: int, block: int | None
) -> tuple[int | None, int]:
    """Return the pool's tokens, None where it is larger than what was sent, and how many were sent."""
    total = min(FIRST_TOKENS, pool_tokens_max)
    while True:
        size = max(64, min(longest_tokens, total // PARTS))
        if block:
            # A last block that is not full: it is computed again in the place of its like, and holds nothing.
            # One that is full would be a second time, and put out an older one (vLLM).
            size = max(block, size // block * block) + max(1, block // 2)
        prompts = [prober.fresh(size) for _ in range(-(-total // size))]
        for prompt in prompts:
            await prober.send(prompt, 1)
        held = 0
        for prompt in reversed(prompts):
            result = await prober.send(prompt, 1)
            cached = result.cached_tokens or 0
            if size - cached > max(64, 2 * (block or 64)):
                # What is computed of it takes the place of older ones: they tell nothing more.
                return held + cached, len(prompts) * size
            held += size // block * block if block else size
        if total >= pool_tokens_max:
            return None, total
        total = min(2 * total, pool_tokens_max)
