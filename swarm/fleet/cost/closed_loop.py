"""A closed loop at fixed concurrency in closed form: what a rank's step loop comes to, without running it.

`concurrency` slots send a prompt, get a reply, and send the next one at once. All start together, so the
first prompts queue behind each other; later ones meet whoever else is computing just then. A benchmark's
mean counts both, the first in the share that they have of its requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.fleet.cost.base import Chunk, Cost, Entry

ROUNDS = 5
"""Of the iteration for the batch that decodes; it has settled to a few parts in 1,000 by then."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The load of a closed loop: requests that are alike, on one rank."""

    concurrency: int
    prompt_tokens: int
    output_tokens: int
    max_batched_tokens: int
    requests_per_slot: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What comes of it, as means over requests."""

    ttft_s: float
    tpot_s: float


def pace_of(cost: Cost, entry: Entry, loop: Loop) -> Pace:
    """Return the mean times of a closed loop."""
    count, steps = loop.concurrency, max(1, loop.output_tokens - 1)
    context = loop.prompt_tokens + 0.5 * loop.output_tokens
    chunks = _chunks(loop.prompt_tokens, loop.max_batched_tokens - count + 1)
    others = count - 1
    deciding = float(count)
    tpot_s = prompt_s = entry_s = 0.0
    for _ in range(ROUNDS):
        batch = max(1, round(deciding))
        line = cost.decode_line(batch, int(batch * context))
        decode_s = line.at_s(batch * context)
        beside = max(0, batch - 1)
        prompt_s = sum(cost.step_s([chunk], beside, int(beside * context)) for chunk in chunks)
        # While one decodes, every other one prefills about once; prompts that meet share a step.
        away = steps * tpot_s / (steps * tpot_s + prompt_s + entry_s) if tpot_s else 1.0
        mixed = others * len(chunks) * away
        extra_s = others * (prompt_s - len(chunks) * decode_s) * away
        if mixed > steps:
            extra_s = (mixed / len(chunks)) * sum(
                cost.prefill_s(chunk.start, chunk.tokens) for chunk in chunks
            )
        tpot_s = decode_s + max(0.0, extra_s) / steps
        entry_s = (
            entry.seconds + entry.token_s * loop.prompt_tokens + (entry.steps * decode_s if beside else 0.0)
        )
        cycle_s = tpot_s * steps + prompt_s + entry_s
        deciding = 1.0 + others * tpot_s * steps / cycle_s
    wait_s = _wait_s(count, prompt_s, tpot_s * steps + entry_s)
    burst_s = _burst_s(cost, loop) + entry.seconds + entry.token_s * loop.prompt_tokens
    share = min(1.0, 1.0 / loop.requests_per_slot)
    return Pace((1.0 - share) * (prompt_s + wait_s + entry_s) + share * burst_s, tpot_s)


def _chunks(tokens: int, budget: int) -> list[Chunk]:
    budget = max(1, budget)
    return [Chunk(start, min(budget, tokens - start)) for start in range(0, tokens, budget)]


def _wait_s(count: int, service_s: float, away_s: float) -> float:
    """Return the wait for a server of fixed service time that `count` customers return to.

    Mean value analysis (Reiser and Lavenberg 1980); a customer in service is met half done.
    """
    queue = busy = 0.0
    stay_s = service_s
    for customers in range(1, count + 1):
        stay_s = service_s * (1.0 + queue - 0.5 * busy)
        rate = customers / (stay_s + away_s)
        queue, busy = rate * stay_s, rate * service_s
    return stay_s - service_s


def _burst_s(cost: Cost, loop: Loop) -> float:
    """Return the mean time to first token of prompts that all come at once."""
    together = min(loop.concurrency, max(1, loop.max_batched_tokens // loop.prompt_tokens))
    if loop.prompt_tokens > loop.max_batched_tokens:
        chunks = _chunks(loop.prompt_tokens, loop.max_batched_tokens)
        group_s = sum(cost.step_s([chunk], 0, 0) for chunk in chunks)
    else:
        group_s = cost.step_s([Chunk(0, loop.prompt_tokens)] * together, 0, 0)
    groups = math.ceil(loop.concurrency / together)
    return group_s * 0.5 * (groups + 1)
