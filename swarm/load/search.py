"""The most agents within the SLO: which level to try, how long to hold it, what its checks decide.

Levels double until one fails, then the gap is halved. A level is checked after 1, 2, 4, 8, ... times
`hold_min_s`; each check sees the second half of the time held, so checks share no request, and the confidence
is divided among them. `load.search_program` carries a search out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from swarm.config.load import SearchConfig
from swarm.config.slo import ObjectiveConfig
from swarm.measure.level_check import Evidence, LevelCheck

LEVELS_MAX = 64
"""Levels that one search tries."""

Verdict = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True)
class Level:
    """A level that was tried and left."""

    agents: int
    verdict: Verdict
    why: str
    checks: int
    hold_s: float
    limiting: Evidence | None
    """The objective that was closest to being missed, or missed by most."""
    last: LevelCheck


class Look(NamedTuple):
    """What is looked at of a level, from its last agent's start on."""

    from_s: float
    to_s: float


class Search:
    """Walks levels until the answer is as narrow as asked for."""

    takes_less = False
    """Whether a look may be shorter, where the time given ends in it."""

    def __init__(
        self, config: SearchConfig, *, ttl_s: float | None, slo: Sequence[ObjectiveConfig] = ()
    ) -> None:
        self._config = config
        self._slo = slo
        held_s = 0.0 if ttl_s is None else ttl_s * config.ttls_held
        self._first_check_s = max(config.hold_min_s, held_s)
        self._checks_max = 1 + max(0, math.floor(math.log2(config.hold_max_s / config.hold_min_s)))
        if self._first_check_s > config.hold_min_s:
            ratio = config.hold_max_s / self._first_check_s
            self._checks_max = 1 + max(0, math.floor(math.log2(ratio))) if ratio >= 1 else 1
        self._is_ttl_too_long = self._first_check_s > config.hold_max_s
        self.levels: list[Level] = []
        self.agents = config.agents_from
        self.is_done = False
        self._checks = 0
        self._passes = 0

    @property
    def confidence(self) -> float:
        """The confidence of each single check."""
        return 1.0 - (1.0 - self._config.confidence) / self._checks_max

    @property
    def look(self) -> Look:
        """The second half of the time that the level is held until its next check is due."""
        after_s = self.check_after_s
        return Look(after_s / 2, after_s)

    @property
    def check_after_s(self) -> float:
        """How long after the level's start its next check is due."""
        if self._is_ttl_too_long:
            return self._config.hold_max_s
        return float(self._first_check_s * 2**self._checks)

    def ramp_s(self, each_s: float, before: int) -> float:
        """Return over which time the agents start that this level adds to those `before`."""
        return each_s * max(0, self.agents - before)

    def judge(self, check: LevelCheck) -> None:
        """Take in what was seen; `agents` and `is_done` say what to do next."""
        self._checks += 1
        verdict, why = self._verdict(check)
        if verdict is None:
            return
        self.levels.append(
            Level(
                agents=self.agents,
                verdict=verdict,
                why=why,
                checks=self._checks,
                hold_s=check.to_s - check.from_s,
                limiting=limiting_of(check),
                last=check,
            )
        )
        self._checks = self._passes = 0
        following = self._next()
        if following is None or len(self.levels) >= LEVELS_MAX:
            self.is_done = True
        else:
            self.agents = following

    def _verdict(self, check: LevelCheck) -> tuple[Verdict | None, str]:
        """Return what a check decides, None to hold on."""
        is_last = self._checks >= self._checks_max
        if self._is_ttl_too_long:
            return "undecided", "the longest TTL does not pass within hold_max_s"
        moving = self._moving(check)
        short = [each.name for each in check.evidence if each.count < self._config.requests_min]
        if short or moving:
            self._passes = 0
            why = f"too few trials of {', '.join(short)}" if short else moving
            return ("undecided", why) if is_last else (None, why)
        if any(each.high < each.required for each in check.evidence):
            return "failed", ""
        if check.failures:
            return "failed", check.failures
        if all(each.low >= each.required for each in check.evidence):
            self._passes += 1
            if self._passes >= self._passes_needed or is_last:
                return "passed", ""
            return None, ""
        self._passes = 0
        return ("undecided", "the interval holds the required share") if is_last else (None, "")

    @property
    def _passes_needed(self) -> int:
        """After a failed level the next could look well only because the load has just fallen."""
        has_fallen = bool(self.levels) and self.levels[-1].agents > self.agents
        return min(self._config.confirmations, self._checks_max) if has_fallen else 1

    def _moving(self, check: LevelCheck) -> str:
        within = self._config.stationary_within
        if check.hit_drift > within:
            return f"the hit rate still moves by {check.hit_drift:.3f}"
        if check.occupancy_drift > within:
            return f"the occupancy still moves by {check.occupancy_drift:.3f}"
        return ""

    @property
    def _low(self) -> int:
        passed = [level.agents for level in self.levels if level.verdict == "passed"]
        failed = self._high
        return max((each for each in passed if failed is None or each < failed), default=0)

    @property
    def _high(self) -> int | None:
        return min((level.agents for level in self.levels if level.verdict == "failed"), default=None)

    def _next(self) -> int | None:
        low, high = self._low, self._high
        between = sorted(
            level.agents
            for level in self.levels
            if level.verdict == "undecided" and level.agents > low and (high is None or level.agents < high)
        )
        if high is None:
            top = max([low, *between])
            return None if top >= self._config.agents_max else raised(top, self._config)
        if high - 1 - low <= max(0.0, self._config.resolution * high):
            return None
        if between:
            below, above = between[0], between[-1]
            if below - low > 1:
                return (low + below) // 2
            return (above + high) // 2 if high - above > 1 else None
        return (low + high) // 2 if high - low > 1 else None

    def answer(self) -> dict[str, Any]:
        """Return the interval of the most agents, what limits them, and the levels walked."""
        low, high = self._low, self._high
        failed = [level for level in self.levels if level.agents == high and level.verdict == "failed"]
        limit = failed[0] if failed else None
        return {
            "agents_low": low,
            "agents_high": None if high is None else high - 1,
            "confidence": self._config.confidence,
            "cache": self._config.cache,
            "is_complete": self.is_done,
            "limiting_objective": None if limit is None or limit.limiting is None else limit.limiting.name,
            "bound_by": None if limit is None else bound_by(limit),
            "within": [each.told for each in self._slo],
            "levels": [told(level) for level in self.levels],
        }


def raised(agents: int, config: SearchConfig) -> int:
    """Return the level above one, of which none has failed."""
    return min(config.agents_max, max(agents + 1, round(agents * config.growth)))


def bound_by(level: Level) -> str | None:
    """Return what a failed level ran into: rate_limit, tier, decode, prefill; None if unclear."""
    limiting = level.limiting
    if limiting is None:
        return None
    if level.last.rate_limited_share > 1.0 - limiting.required:
        return "rate_limit"
    if limiting.metric in ("tpot_s", "itl_s"):
        return "decode"
    if limiting.metric in ("ttft_s", "effective_ttft_s"):
        return "tier" if level.last.cache_loss_share > 0.5 else "prefill"
    return None


def limiting_of(check: LevelCheck) -> Evidence | None:
    """Return the objective whose misses are the largest share of those allowed."""
    seen = [each for each in check.evidence if each.count]
    return max(seen, key=lambda each: (1.0 - each.value) / max(1e-9, 1.0 - each.required), default=None)


def told(level: Level) -> dict[str, Any]:
    """Return a level as the summary has it."""
    limiting, last = level.limiting, level.last
    evidence = None if limiting is None else limiting
    return {
        "agents": level.agents,
        "verdict": level.verdict,
        "why": level.why or None,
        "objective": None if evidence is None else evidence.name,
        "value": None if evidence is None else evidence.value,
        "low": None if evidence is None else evidence.low,
        "high": None if evidence is None else evidence.high,
        "required": None if evidence is None else evidence.required,
        "hold_s": level.hold_s,
        "looks": level.checks,
        "requests": last.requests,
        "hit_rate": last.hit_rate,
        "occupancy": last.occupancy,
        "from_s": last.from_s,
        "to_s": last.to_s,
        "objectives": [asdict(each) for each in last.evidence],
    }
