"""How many requests a server runs at once, and how many tokens one of its steps computes.

Batches of short prompts are raised until some of them wait: those that run give their first tokens soon after
another, and then nobody does until one of them has ended. A long prompt beside a reply shows the steps that
it is cut into: each is a longer gap between the reply's tokens.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, median_low

from swarm.fleet.cost.calibration import Rates
from swarm.live.probing.decodes import SHORT_TOKENS
from swarm.live.probing.prober import REPLY_TOKENS, Prober
from swarm.live.targets.turn import TurnResult

BATCH_FIRST, BATCH_LAST = 16, 1024
REPLY_FIRST, REPLY_LAST = 64, 2_048
GAP_SHARE = 0.3
"""A wait for others to end is this much longer than the time in which those that run began."""
FLAT = 1.05
"""Twice the batch that gives less than this much more: pace has saturated."""
CONFIRMED = 2
TRIES = 4


@dataclass(frozen=True, slots=True)
class Batches:
    """What raising the batches found; None: not to be seen."""

    max_sequences: int | None
    largest: int
    """The largest batch that was sent."""
    flat_from: int | None
    """The batch from which on more requests give no more tokens a second."""


async def raised(prober: Prober, *, context_tokens: int, pool_tokens: int | None, engines: int) -> Batches:
    """Raise batches until requests wait, pace is flat, or the server's pool would not hold them."""
    batch, reply, flat_from, best, last = BATCH_FIRST, REPLY_FIRST, None, 0.0, 0
    while batch <= BATCH_LAST:
        if pool_tokens is not None and batch * (SHORT_TOKENS + reply) > pool_tokens * 0.8:
            break
        results, reply = await _batch(prober, batch, reply, context_tokens)
        last = batch
        running = running_of(results)
        if running is not None:
            running = await _confirmed(prober, batch, reply, context_tokens, running)
            return Batches(round(running / engines), batch, flat_from)
        ends = [result.token_times for result in results if result.token_times]
        seconds = max(times[-1] for times in ends) - min(times[0] for times in ends)
        rate = sum(len(times) for times in ends) / max(seconds, 1e-9)
        flat_from = (flat_from or batch // 2) if rate < best * FLAT else None
        best = max(best, rate)
        if flat_from is not None and batch >= 4 * flat_from:
            break
        batch *= 2
    return Batches(None, last, flat_from)


async def _batch(prober: Prober, batch: int, reply: int, context_tokens: int) -> tuple[list[TurnResult], int]:
    """Send a batch whose replies are long enough that all have begun before one has ended."""
    while True:
        await prober.pause()
        results = await prober.together([prober.fresh(SHORT_TOKENS) for _ in range(batch)], reply)
        longer = min(2 * reply, REPLY_LAST, context_tokens - 2 * SHORT_TOKENS)
        if running_of(results) is not None or began_together(results) or longer <= reply:
            return results, reply
        reply = longer


async def _confirmed(prober: Prober, batch: int, reply: int, context_tokens: int, first: int) -> int:
    """Return the count that several batches agree on; the one in the middle where none do."""
    seen = [first]
    for _ in range(TRIES):
        results, reply = await _batch(prober, batch, reply, context_tokens)
        running = running_of(results)
        if running is not None:
            seen.append(running)
        if max(seen.count(each) for each in seen) >= CONFIRMED:
            return max(seen, key=seen.count)
    return int(median(seen))


def began_together(results: Sequence[TurnResult]) -> bool:
    """Return whether all first tokens came before the first reply ended."""
    firsts = [result.token_times[0] for result in results if result.token_times]
    ends = [result.token_times[-1] for result in results if result.token_times]
    return max(firsts) < min(ends)


def running_of(results: Sequence[TurnResult]) -> int | None:
    """Return how many ran while others waited for them to end; None where nobody visibly did."""
    ended = sorted((result for result in results if result.token_times), key=lambda one: one.token_times[0])
    if len(ended) < 2 or began_together(ended):
        return None
    firsts = [result.token_times[0] for result in ended]
    gaps = [later - earlier for earlier, later in pairwise(firsts)]
    longest = max(range(len(gaps)), key=gaps.__getitem__)
    running = longest + 1
    sent_s = [result.sent_s for result in ended[running:] if result.sent_s is not None]
    # Those after the gap had been sent long before it ended, it was the longest by far, and it ended as the
    # first of those that ran did.
    waited = bool(sent_s) and max(sent_s) < firsts[longest] + gaps[longest] / 2
    first_end_s = min(result.token_times[-1] for result in ended[:running])
    freed = firsts[running] >= first_end_s - 0.1 * gaps[longest]
    began_s = firsts[longest] - firsts[0]
    return running if waited and freed and gaps[longest] > GAP_SHARE * began_s else None


STEPS_SEEN_MIN = 2
STEPS_ASKED_MAX = 5
ROUND_SHARE = 0.15
"""A budget is taken for the usual one that it is this near to."""


async def step_tokens(prober: Prober, rates: Rates, *, longest_tokens: int) -> int | None:
    """Return the tokens that a step computes at most; None where a long prompt takes but one step.

    It is asked until two answers agree: one step that was late passes for more or for fewer.
    """
    found: list[int | None] = []
    for _ in range(STEPS_ASKED_MAX):
        budget = await _budget(prober, rates, longest_tokens)
        if budget in found:
            return budget
        found.append(budget)
    budgets = [budget for budget in found if budget is not None]
    return median_low(budgets) if budgets else None


async def _budget(prober: Prober, rates: Rates, longest_tokens: int) -> int | None:
    """Ask once."""
    # The reply outlasts the prompt: its pace stays what it was, and twice the prompt's time goes by.
    tpot_s = max(rates.tpot_s(1, SHORT_TOKENS), 1e-4)
    reply = int(min(REPLY_LAST, longest_tokens - SHORT_TOKENS, 96))
    beside = prober.fresh(SHORT_TOKENS)
    asked = asyncio.ensure_future(prober.send(beside, reply))
    await asyncio.sleep(rates.ttft_s(SHORT_TOKENS, 0) + 8 * tpot_s)
    long = await prober.send(prober.fresh(longest_tokens), REPLY_TOKENS)
    result = await asked
    if long.first_token_s is None:
        return None
    return budget_of(result.token_times, long.first_token_s, rates, longest_tokens)


def budget_of(times: Sequence[float], until_s: float, rates: Rates, prompt_tokens: int) -> int | None:
    """Return the tokens of a step, from the times of a reply's tokens beside a prompt."""
    gaps = [(later - earlier, later) for earlier, later in pairwise(times) if earlier < until_s]
    pace_s = rates.tpot_s(1, SHORT_TOKENS)
    whole_s = rates.prefill_s(0, prompt_tokens)
    longest_s = max((gap for gap, _ in gaps), default=0.0)
    if longest_s < 3 * pace_s:
        return None
    stretched = [gap for gap, _ in gaps if gap > pace_s + 0.3 * (longest_s - pace_s)]
    if len(stretched) < STEPS_SEEN_MIN or sum(stretched) < 0.5 * whole_s:
        return None
    # The last step takes what is left; the others are full.
    full = stretched[:-1]
    # What each chunk adds to its step is not its tokens'; the prompt so far is half of it on average.
    pace_s += rates.prefill_chunk_s + rates.prefill_chunk_per_token_s * prompt_tokens / 2
    budget = _tokens_within(rates, sum(full) - len(full) * pace_s, prompt_tokens) / len(full)
    return _round_budget(budget, len(stretched), prompt_tokens)


def _round_budget(budget: float, steps: int, prompt_tokens: int) -> int:
    """Return the budget that engines are given: a power of two, or one and a half, where the steps allow it.

    Times are late at times, but the steps' number is sure; a last one of few tokens may not have been seen.
    """
    power = 1 << round(math.log2(max(1.0, budget)))
    usual = sorted((power // 2, 3 * power // 4, power, 3 * power // 2), key=lambda each: abs(each - budget))
    for each in usual:
        takes = math.ceil(prompt_tokens / max(1, each - 1))
        if takes in (steps, steps + 1) and abs(each / budget - 1) < ROUND_SHARE:
            return each
    return int(budget)


def _tokens_within(rates: Rates, seconds: float, most: int) -> int:
    """Return how many tokens of a prompt are computed in so long."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if rates.prefill_s(0, middle) <= seconds:
            low = middle
        else:
            high = middle - 1
    return max(1, low)
