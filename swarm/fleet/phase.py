"""A run of decode steps in closed form, and the longest gap between tokens since any step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import sqrt


class DecodePhase:
    """Steps 1, 2, ... of an unchanging batch, each longer than the one before by the batch's new tokens.

    Every time is computed from the anchor; nothing is added up, so asking more often changes nothing.
    """

    __slots__ = ("anchor_s", "first_s", "more_s", "steps")

    def __init__(self, *, anchor_s: float, first_s: float, more_s: float, steps: int) -> None:
        self.anchor_s = anchor_s
        self.first_s = first_s
        self.more_s = more_s
        self.steps = steps
        """Where the phase ends, unless something happens before."""

    def at_s(self, step: int) -> float:
        """Return when `step` steps are done."""
        return self.anchor_s + step * (self.first_s + 0.5 * self.more_s * (step - 1))

    def duration_s(self, step: int) -> float:
        """Return the seconds of one step, counted from 1."""
        return self.first_s + self.more_s * (step - 1)

    def steps_until(self, time_s: float) -> int:
        """Return the least number of steps that are done at `time_s` or after it."""
        since_s = time_s - self.anchor_s
        if since_s <= 0.0:
            return 0
        half = self.first_s - 0.5 * self.more_s
        step = int(2.0 * since_s / (half + sqrt(half * half + 2.0 * self.more_s * since_s)))
        while self.at_s(step) < time_s:
            step += 1
        while step > 0 and self.at_s(step - 1) >= time_s:
            step -= 1
        return step

    def steps_done(self, time_s: float) -> int:
        """Return how many steps are done at `time_s`."""
        step = self.steps_until(time_s)
        return step if step == 0 or self.at_s(step) <= time_s else step - 1

    def steps_begun(self, time_s: float) -> int:
        """Return how many steps are done or under way at `time_s`."""
        return min(self.steps, self.steps_done(time_s) + 1)


PEAKS_SLACK = 64
"""Peaks kept beyond two for each sequence before those that nobody can ask for are dropped."""


class Peaks:
    """The longest gap since any step: a stack of (step, gap), later ones lower."""

    __slots__ = ("_gaps", "steps")

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._gaps: list[float] = []

    def push(self, step: float, gap_s: float) -> None:
        """Note that the gaps up to `step` reached `gap_s`; steps arrive in order."""
        steps, gaps = self.steps, self._gaps
        while gaps and gaps[-1] <= gap_s:
            gaps.pop()
            steps.pop()
        steps.append(step)
        gaps.append(gap_s)

    def since(self, step: float) -> float:
        """Return the longest gap after `step`; 0 if there was none."""
        index = bisect_right(self.steps, step)
        return self._gaps[index] if index < len(self._gaps) else 0.0

    def thin(self, steps: Iterable[float]) -> None:
        """Keep only what an asker from one of `steps`, or from the last peak on, could see."""
        kept = sorted({bisect_right(self.steps, step) for step in steps} - {len(self.steps)})
        self._gaps = [self._gaps[index] for index in kept]
        self.steps = [self.steps[index] for index in kept]

    def clear(self) -> None:
        """Forget everything: nobody is left to ask."""
        self.steps.clear()
        self._gaps.clear()
