"""The pace of batches that decode together, taken while all of them do."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from swarm.errors import RunError
from swarm.fleet.cost.calibration import DecodeProbe
from swarm.live.probing.prober import TRIES, Prober
from swarm.live.targets.turn import TurnResult

SHORT_TOKENS = 16
BATCHES = (1, 4, 16, 64)
"""Of short prompts."""
LONG = ((1, 1.0), (1, 0.5), (4, 0.25), (8, 0.125))
"""Batches of long prompts, and their share of the longest."""
WIDE, WIDE_SHARE = 32, 1 / 16
"""The same of as many as run at once, up to so many: a server at its capacity is far from a lone prompt."""
REPLY_TOKENS = 96
STEPS_MIN = 16
"""Steps in which all members must have decoded together."""
LONGER_MAX = 3
"""How often a reply is made twice as long, so that they do."""


class Level(NamedTuple):
    """One batch."""

    batch: int
    prompt_tokens: int

    @property
    def name(self) -> str:
        """How it is shown."""
        return f"{self.batch} x {self.prompt_tokens:,} tokens"


def levels(longest_tokens: int, pool_tokens: int | None, batch_max: int) -> list[Level]:
    """Return the batches for a server; none takes more than half of its pool."""
    asked = [*LONG, (max(1, min(WIDE, batch_max)), WIDE_SHARE)]
    long = [Level(batch, int(share * longest_tokens)) for batch, share in asked]
    found = [Level(batch, SHORT_TOKENS) for batch in BATCHES] + long
    room = pool_tokens / 2 if pool_tokens is not None else float("inf")
    fit = [
        level
        for level in found
        if level.batch <= batch_max and level.batch * (level.prompt_tokens + REPLY_TOKENS) <= room
    ]
    return list(dict.fromkeys(fit)) or [Level(1, SHORT_TOKENS)]


class Decodes:
    """Lets batches decode, over and over."""

    def __init__(self, prober: Prober, asked: Sequence[Level], *, context_tokens: int, engines: int) -> None:
        self._prober = prober
        self._context_tokens = context_tokens
        self._engines = engines
        self.levels = list(asked)
        self.held: dict[str, list[DecodeProbe]] = {level.name: [] for level in asked}
        self._replies: dict[Level, int] = {}

    async def round(self) -> None:
        """Let every batch decode once; one whose replies never overlap gives nothing this time."""
        for level in self.levels:
            await self._prober.pause()
            found = await self._ask(level)
            if found is not None:
                self.held[level.name].append(found)

    def lone_s(self) -> float:
        """Return the time per output token of the smallest batch, as last seen."""
        return next(iter(self.known().values()))[-1].tpot_s

    def known(self) -> dict[str, list[DecodeProbe]]:
        """Return the batches that were seen to decode together, at least half as often as they were asked.

        Raises:
            RunError: Not even a lone reply came token by token.
        """
        rounds = max(map(len, self.held.values()))
        if not rounds:
            raise RunError(
                f"calibrate: no reply of {REPLY_TOKENS} and more tokens came as {STEPS_MIN} tokens one after "
                "another; does the server stream token by token, as many as are asked for (ignore_eos)?"
            )
        return {name: probes for name, probes in self.held.items() if 2 * len(probes) >= rounds}

    async def _ask(self, level: Level) -> DecodeProbe | None:
        prober = self._prober
        prompts = [prober.fresh(level.prompt_tokens) for _ in range(level.batch)]
        if level.prompt_tokens > SHORT_TOKENS:
            # They are cached now, so that the batch starts together.
            for prompt in prompts:
                await prober.send(prompt, 1)
        longer_count = late_count = 0
        while True:
            reply = self._replies.get(level, REPLY_TOKENS)
            results = await prober.together(prompts, reply)
            found = pace(results, level, self._engines)
            if found is None:
                longer = min(2 * reply, self._context_tokens - level.prompt_tokens)
                if longer_count == LONGER_MAX or longer <= reply:
                    return None
                self._replies[level] = longer
                longer_count += 1
            elif prober.was_late(results, found.tpot_s * STEPS_MIN) and late_count < TRIES:
                late_count += 1
            else:
                return found


def pace(results: Sequence[TurnResult], level: Level, engines: int) -> DecodeProbe | None:
    """Return the pace over the stretch in which all replies were under way; None where it is too short.

    Each reply is taken from its own first token of the stretch to its own last one: a server sends the tokens
    of a step one after another, and the stretch begins with the last of them and ends with the first.
    """
    if any(not result.token_times for result in results):
        return None
    from_s = max(result.token_times[0] for result in results)
    to_s = min(result.token_times[-1] for result in results)
    steps, held, seconds = [], 0.0, 0.0
    for result in results:
        # A server may put several tokens into one delta.
        per_delta = (result.output_tokens or result.output_counted) / len(result.token_times)
        before = bisect_right(result.token_times, from_s)
        count = bisect_right(result.token_times, to_s) - before
        if count < 2:
            return None
        steps.append((count - 1) * per_delta)
        seconds += result.token_times[before + count - 1] - result.token_times[before]
        prompt_tokens = result.prompt_tokens or level.prompt_tokens
        # Before a step its last token is not held yet: the step computes it.
        held += prompt_tokens + (before + count / 2) * per_delta - 1
    if seconds <= 0 or median(steps) < STEPS_MIN:
        return None
    batch = max(1.0, len(results) / engines)
    return DecodeProbe(batch, held / len(results) * batch, seconds / sum(steps))
