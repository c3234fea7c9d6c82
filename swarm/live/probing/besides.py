"""What a prompt costs those that decode beside it: a reply under way comes later by so much.

A lone prompt's first token does not tell its entry, which holds up nobody, from its step, for which everybody
who decodes waits. Beside a reply they part: what the reply's tokens are late by was spent in steps, or on
cores that the engine needs.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from swarm.fleet.cost.calibration import StallProbe
from swarm.live.probing.decodes import SHORT_TOKENS
from swarm.live.probing.prefills import Cell, Prefills
from swarm.live.probing.prober import TRIES, Prober, ttft_s

NEW_SHARE_MAX = 1 / 32
"""Of the longest prompt: what is new of a prompt beside a reply fits into a step."""
STEADY_STEPS = 24
"""Tokens of the reply before and behind the prompt: they tell its pace."""
STEADY_MIN = 8
SETTLED_STEPS = 4
"""Tokens behind the prompt's first one that still belong to it: its end is told meanwhile."""
LONGER = 2.0
"""A prompt beside a reply may take so many times what it takes alone."""
LONGER_MAX = 8.0
SWEPT = 0.618034
"""Of a step, by which each repeat of a question comes later in one: so repeats fill it evenly."""

TOGETHER = 16
"""Prompts that are sent at once."""


class Besides:
    """Sends prompts beside a reply, over and over; none where several engines share what is sent."""

    def __init__(self, prober: Prober, prefills: Prefills, *, context_tokens: int, engines: int) -> None:
        self._prober = prober
        self._prefills = prefills
        self._context_tokens = context_tokens
        self._longer = LONGER
        most = NEW_SHARE_MAX * prefills.longest_tokens
        self._cells = [] if engines > 1 else [cell for cell in prefills.cells if cell.new_tokens <= most]
        self.held: dict[str, list[StallProbe]] = {cell.name: [] for cell in self._cells}
        self.apart_s: list[float] = []
        """Seconds from one first token to the next, of short prompts sent at once."""

    async def round(self, pace_s: float) -> None:
        """Ask every question once; `pace_s` is the time per output token of a lone reply."""
        await self._together()
        for place, cell in enumerate(self._cells):
            lone_s = self._prefills.held[cell.name][-1].ttft_s
            into_step = (place / len(self._cells) + SWEPT * len(self.held[cell.name])) % 1.0
            for _ in range(TRIES):
                found = await self._ask(cell, lone_s, pace_s, into_step)
                if found is not None:
                    self.held[cell.name].append(found)
                    break

    async def _together(self) -> None:
        if not self._cells:
            return
        prober = self._prober
        for _ in range(TRIES):
            await prober.pause()
            results = await prober.together([prober.fresh(SHORT_TOKENS) for _ in range(TOGETHER)], 1)
            firsts = sorted(result.first_token_s for result in results if result.first_token_s is not None)
            if len(firsts) < TOGETHER:
                continue
            if not prober.was_late(results, firsts[-1] - firsts[0]):
                self.apart_s.append((firsts[-1] - firsts[0]) / (TOGETHER - 1))
                return

    def known(self) -> dict[str, list[StallProbe]]:
        """Return the questions that were answered."""
        return {name: probes for name, probes in self.held.items() if probes}

    async def _ask(self, cell: Cell, lone_s: float, pace_s: float, into_step: float) -> StallProbe | None:
        """Return how late a reply was by a prompt beside it; None where it was not to be seen.

        The prompt is sent later by a share of a step: it does not always wait equally long for one to end.
        """
        prober = self._prober
        prompt = await self._prefills.prompt(cell)
        await prober.pause()
        steps = 2 * STEADY_STEPS + 1 + math.ceil(self._longer * lone_s / pace_s)
        reply = asyncio.ensure_future(
            prober.send(prober.fresh(SHORT_TOKENS), min(steps, self._context_tokens - SHORT_TOKENS))
        )
        try:
            await asyncio.sleep(self._prefills.shortest_s() + (STEADY_STEPS + into_step) * pace_s)
            result = await prober.send(prompt, 1)
        finally:
            beside = await reply
        if result.sent_s is None or result.first_token_s is None:
            # A single token may be a part of a character, which no text shows.
            return None
        seconds = ttft_s(result)
        late_s = stall_of(beside.token_times, result.sent_s, result.sent_s + seconds)
        if late_s is None:
            self._longer = min(LONGER_MAX, 2 * self._longer)
            return None
        is_late = prober.was_late([result, beside], seconds)
        if not self._prefills.was_whole(cell, result.cached_tokens or 0) or is_late:
            return None
        tokens = result.prompt_tokens or prompt.length
        cached = result.cached_tokens
        if cached is None:
            cached = self._prefills.assumed(cell)
        return StallProbe(tokens, min(cached, tokens - 1), late_s, lone_s, seconds)


def stall_of(times: Sequence[float], from_s: float, to_s: float) -> float | None:
    """Return by how much tokens came later than at their own pace, between two times and a little after.

    A reply slows down as it grows: tokens before and behind lie on one parabola over their numbers, but for
    what those behind are late by. Of all of them, one that was read late hardly counts.
    None where too few tokens came before or behind.
    """
    first = bisect_right(times, from_s) - 1
    last = bisect_left(times, to_s) + SETTLED_STEPS
    if first < STEADY_MIN or last + STEADY_MIN >= len(times):
        return None
    numbers = np.arange(len(times))
    steady = numbers[(numbers <= first) | (numbers >= last)]
    along = steady / len(times)
    rows = np.column_stack([np.ones(len(steady)), along, np.square(along), steady >= last])
    found, *_ = np.linalg.lstsq(rows, np.array(times)[steady] - times[0], rcond=None)
    return max(0.0, float(found[3]))
