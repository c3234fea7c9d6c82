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

import numpy as np

from swarm.fleet.cost.calibration import Floats, Rates
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
NOTICED = 0.2
"""Of the longest gap, beyond a reply's pace: shorter ones and shorter steps are not looked at."""
USUAL = sorted(times * 2**power for power in range(6, 18) for times in (2, 3))
"""Budgets that engines are given: powers of two, and one and a half times these."""
OTHERS = 400
"""Other budgets that are tried."""
ALMOST = 0.06
"""A usual budget is taken whose error is no more beyond the least one."""


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
    """Return the tokens of a step, from the times of a reply's tokens beside a prompt.

    Every budget cuts the prompt into steps whose lengths are in proportions of their own: attention makes
    each longer than the one before, and the last one has what is left. That whose proportions are nearest to
    the gaps counts, however fast or slow the moment was.
    """
    pace_s = rates.tpot_s(1, SHORT_TOKENS)
    extra = [later - earlier - pace_s for earlier, later in pairwise(times) if earlier < until_s]
    longest_s = max(extra, default=0.0)
    if longest_s < 2 * pace_s:
        return None
    seen = np.array(sorted((each for each in extra if each > NOTICED * longest_s), reverse=True))
    if len(seen) < STEPS_SEEN_MIN or seen.sum() < 0.5 * rates.prefill_s(0, prompt_tokens):
        return None
    usual = {budget for budget in USUAL if budget <= prompt_tokens}
    least, most = max(SHORT_TOKENS, prompt_tokens // (2 * len(seen))), prompt_tokens // (STEPS_SEEN_MIN - 1)
    others: list[int] = np.geomspace(least, most, OTHERS).astype(int).tolist()
    errors = {budget: _error(seen, rates, budget, prompt_tokens) for budget in (*usual, *others)}
    best = min(errors, key=errors.__getitem__)
    if errors[best] == math.inf:
        return None
    nearest: int = min(usual, key=errors.__getitem__, default=best)
    return nearest if errors[nearest] <= errors[best] + ALMOST else best


def _error(seen: Floats, rates: Rates, budget: int, prompt_tokens: int) -> float:
    """Return the share of all gaps by which a budget's steps differ from them, longest beside longest."""
    steps, start = [], 0
    while start < prompt_tokens:
        tokens = min(max(1, budget - 1), prompt_tokens - start)  # The reply's own is one.
        chunk_s = rates.prefill_chunk_s + rates.prefill_chunk_per_token_s * (start + tokens)
        steps.append(chunk_s + rates.prefill_s(start, tokens))
        start += tokens
    if len(steps) < STEPS_SEEN_MIN or not any(steps):
        return math.inf
    steps = [step for step in steps if step > NOTICED * max(steps)]
    count = max(len(steps), len(seen))
    expected = np.zeros(count)
    expected[: len(steps)] = sorted(steps, reverse=True)
    found = np.zeros(count)
    found[: len(seen)] = seen
    return float(np.abs(found / found.sum() - expected / expected.sum()).sum())
