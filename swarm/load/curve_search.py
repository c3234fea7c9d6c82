"""The search that is given a time: looks of one length, each where it tells most, and one curve through all.

Levels grow until one is missed; then they follow the curve's middle, where a look narrows the interval most.
A level that was just changed settles first: what was started with it is computed, what waited is gone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from swarm.config.load import SearchConfig
from swarm.config.slo import ObjectiveConfig
from swarm.load.curve import Most, Seen, most_agents
from swarm.load.search import LEVELS_MAX, Level, Look, bound_by, limiting_of, told
from swarm.measure.level_check import Evidence, LevelCheck

RISE_SHARE, FALL_SHARE = 0.4, 0.75
"""Of a look's length, let pass after a change of level: a queue that an overload left takes longer to go."""
COLLAPSED, COLLAPSE_SHARE = 0.5, 1.5
"""Below so many good requests the caches are lost as well: they are filled anew before the next look."""
AGAIN = 0.25
"""Of the time that a new agent's start is given, for one that has played before."""
WARY = 1.2
"""The most that agents grow by beyond the curve's middle: what an overload queues up takes its time to go."""
WIDE = 1.8
"""Ends further apart than this are far off."""
LEEWAY_S = 3.0
"""What orders and reports take from a look to the next, live."""
NEAR = 1.08
"""Levels closer than this are not told apart by moving between them: starting agents costs more."""


class CurveSearch:
    """Walks levels as long as it is given time; the answer is what all looks say together."""

    takes_less = True

    def __init__(self, config: SearchConfig, slo: Sequence[ObjectiveConfig], *, duration_s: float) -> None:
        self._config = config
        self._duration_s = duration_s
        self._slo = slo
        self.levels: list[Level] = []
        self.agents = config.agents_from
        self.is_done = False
        self._before: int | None = None

    @property
    def confidence(self) -> float:
        """The confidence of a look's own interval."""
        return self._config.confidence

    @property
    def look(self) -> Look:
        """What is looked at next."""
        hold_s = self._config.hold_min_s
        settle_s = 0.0
        if self._before is not None and self._before > self.agents:
            settle_s = (COLLAPSE_SHARE if self._has_collapsed else FALL_SHARE) * hold_s
        elif self._before != self.agents:
            settle_s = RISE_SHARE * hold_s
        return Look(settle_s, settle_s + (hold_s if self._is_missed else hold_s / 2))

    def ramp_s(self, each_s: float, before: int) -> float:
        """Return over which time the agents start that this level adds to those `before`.

        Those that have played start a session at its beginning, of which little is to be computed.
        """
        most = max((level.agents for level in self.levels), default=0)
        added, new = max(0, self.agents - before), max(0, self.agents - max(before, most))
        return each_s * (new + AGAIN * (added - new))

    def judge(self, check: LevelCheck) -> None:
        """Take in what was seen; `agents` says where to look next."""
        self._before = self.agents
        self.levels.append(
            Level(
                agents=self.agents,
                verdict=_verdict(check),
                why=check.failures,
                checks=1,
                hold_s=check.to_s - check.from_s,
                limiting=limiting_of(check),
                last=check,
            )
        )
        if len(self.levels) >= LEVELS_MAX:
            self.is_done = True
        else:
            self.agents = self._next(self._duration_s - check.to_s)

    def _next(self, left_s: float) -> int:
        config, point = self._config, self._point()
        if point is None:
            return self.agents
        # An end that is far off is looked for: of good looks alone the curve's middle says little.
        aim = point.middle if point.high < WIDE * point.low else math.sqrt(point.low * point.high)
        growth = config.growth
        if self._is_missed and self.agents * growth > point.middle:
            growth = WARY
        middle = min(max(aim, self.agents / config.growth), self.agents * growth)
        if max(middle, self.agents) / max(1e-9, min(middle, self.agents)) < NEAR:
            return self.agents
        wanted = max(1, min(config.agents_max, round(middle)))
        return wanted if wanted <= self.agents else max(self.agents, min(wanted, self._reachable(left_s)))

    def _reachable(self, left_s: float) -> int:
        """Return up to how many agents there may be in time for a look at them."""
        each_s, hold_s = self._config.ramp_per_agent_s, self._config.hold_min_s
        if not each_s:
            return self._config.agents_max
        most = max(level.agents for level in self.levels)
        ramp_s = left_s - (1.0 + RISE_SHARE) * hold_s - LEEWAY_S
        again = max(0, most - self.agents)
        if ramp_s < AGAIN * each_s * again:
            return self.agents + math.floor(ramp_s / (AGAIN * each_s))
        return most + math.floor((ramp_s - AGAIN * each_s * again) / each_s)

    @property
    def _has_collapsed(self) -> bool:
        """Whether the last look saw next to nothing good."""
        seen = [each for each in self.levels[-1].last.evidence if each.count]
        return any(each.value < COLLAPSED for each in seen)

    @property
    def _is_missed(self) -> bool:
        """Whether some look lay below what an objective requires."""
        return any(
            each.value < each.required for level in self.levels for each in level.last.evidence if each.count
        )

    def _points(self) -> list[tuple[Most, str, str]]:
        """Return the most agents of each objective of which something was seen, with its name and metric."""
        by_name: dict[str, tuple[Evidence, list[Seen]]] = {}
        for level in self.levels:
            for each in level.last.evidence:
                looks = by_name.setdefault(each.name, (each, []))[1]
                looks.append(
                    Seen(level.agents, each.count, round(each.value * each.count) if each.count else 0)
                )
        found = []
        for evidence, looks in by_name.values():
            point = most_agents(looks, evidence.required, self._config.confidence)
            if point is not None:
                found.append((point, evidence.name, evidence.metric))
        return found

    def _point(self) -> Most | None:
        """Return the most agents within all objectives: the fewest of any of them."""
        points = [point for point, _, _ in self._points()]
        if not points:
            return None
        return Most(
            min(each.low for each in points),
            min(each.middle for each in points),
            min(each.high for each in points),
        )

    def answer(self) -> dict[str, Any]:
        """Return the interval of the most agents, what limits them, and the looks in their order."""
        points, point = self._points(), self._point()
        limiting = min(points, key=lambda each: each[0].middle, default=None)
        is_open = point is None or not self._is_missed
        below = [level for level in self.levels if limiting and _misses(level, limiting[1])]
        top = max((level.agents for level in self.levels), default=0)
        return {
            "agents_low": 0 if point is None else min(math.floor(point.low), top),
            "agents_high": None if point is None or is_open else math.floor(point.high),
            "agents_middle": None if point is None or is_open else round(point.middle, 1),
            "confidence": self._config.confidence,
            "cache": self._config.cache,
            "is_complete": bool(self.levels),
            "limiting_objective": None if is_open or limiting is None else limiting[1],
            "bound_by": bound_by(min(below, key=lambda level: level.agents)) if below else None,
            "within": [each.told for each in self._slo],
            "levels": [told(level) for level in self.levels],
        }


def _misses(level: Level, name: str) -> bool:
    return any(
        each.name == name and each.count and each.value < each.required for each in level.last.evidence
    )


def _verdict(check: LevelCheck) -> Any:
    """Return what a look alone says."""
    if any(each.high < each.required for each in check.evidence) or check.failures:
        return "failed"
    if check.evidence and all(each.low >= each.required for each in check.evidence):
        return "passed"
    return "undecided"
