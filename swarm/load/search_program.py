"""The search for the most agents as a program: it yields what is to be done, and is told what came of it.

Like an agent, it never reads a clock. `sim.searching` drives it in virtual time and a live run's driver on
wall time; which level to try, how long to hold it, when to empty caches and when to end stands here alone.

- `SetLevel` brings the sessions to a level. The answer is when the first of those that it adds starts.
- `EmptyCaches` ends all sessions, lets their requests end, and empties the caches. The answer is when.
- `WatchLevel` lets the run go on to `to_s`. The answer is what was seen of it, `Seen`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.config.load import LoadConfig
from swarm.load.curve_search import CurveSearch
from swarm.load.search import Search
from swarm.measure.level_check import check_level

READINGS = 20
"""Times that the occupancy of KV memory is read while a level is watched."""


@dataclass(frozen=True, slots=True)
class SetLevel:
    """Let the first `agents` slots play; those beyond the first `before` start over `ramp_s`."""

    agents: int
    before: int
    ramp_s: float

    def start_s(self, slot: int, from_s: float) -> float:
        """Return when a slot starts, where the first of those added starts at `from_s`."""
        added = self.agents - self.before
        return from_s + (self.ramp_s * (slot - self.before) / added if added > 0 else 0.0)

    def begun_s(self, from_s: float) -> float:
        """Return when all slots have started."""
        return from_s + (self.ramp_s if self.agents > self.before else 0.0)


@dataclass(frozen=True, slots=True)
class EmptyCaches:
    """End the sessions of the first `before` slots, and let the next level start with nothing cached."""

    before: int


@dataclass(frozen=True, slots=True)
class WatchLevel:
    """Hold the level up to `to_s`, and gather what ends from `from_s` on."""

    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        """How long is watched."""
        return self.to_s - self.from_s

    def reading_s(self, number: int) -> float:
        """Return when the occupancy is read for the `number`th time, from 1 to `READINGS`."""
        return self.from_s + self.length_s * number / READINGS


class Seen(NamedTuple):
    """What was seen of a level."""

    rows: pa.Table
    """Requests that ended in the time watched; others are left out of the judgement."""
    occupancy: Sequence[float]
    """Share of KV memory in use, as often as it could be read."""


SearchEffect = SetLevel | EmptyCaches | WatchLevel
SearchProgram = Generator[SearchEffect, Any, None]


def _ramp_s(search: Search | CurveSearch, load: LoadConfig, before: int) -> float:
    each_s = None if load.search is None else load.search.ramp_per_agent_s
    return load.ramp_s if each_s is None else search.ramp_s(each_s, before)


def search_of(experiment: Experiment) -> Search | CurveSearch:
    """Return the search that an experiment asks for."""
    config = experiment.load.search
    assert config is not None
    if config.answer == "curve":
        assert experiment.load.duration_s is not None
        return CurveSearch(config, experiment.slo, duration_s=experiment.load.duration_s)
    ttls = [tier.ttl_s for tier in experiment.fleet.tiers if tier.ttl_s is not None]
    return Search(config, ttl_s=max(ttls, default=None), slo=experiment.slo)


def search_program(search: Search | CurveSearch, experiment: Experiment, *, slots: int) -> SearchProgram:
    """Walk the levels of a search to its end, or to where the load's duration leaves no time for a check.

    `search` knows the answer at any time, also where its driver is stopped in between.
    """
    load = experiment.load
    assert load.search is not None
    is_cold = load.search.cache == "cold"
    provider = experiment.fleet.provider
    playing = 0
    while not search.is_done:
        if is_cold and search.levels:
            yield EmptyCaches(playing)
            playing = 0
        agents = min(search.agents, slots)
        level = SetLevel(agents, playing, _ramp_s(search, load, playing))
        begun_s = level.begun_s((yield level))
        playing = level.agents
        tried = len(search.levels)
        while len(search.levels) == tried:
            look = search.look
            watch = WatchLevel(begun_s + look.from_s, begun_s + look.to_s)
            if load.duration_s is not None and watch.to_s > load.duration_s:
                if not search.takes_less or load.duration_s - watch.from_s < watch.length_s / 2:
                    return
                watch = WatchLevel(watch.from_s, load.duration_s)
            seen = yield watch
            search.judge(
                check_level(
                    seen.rows,
                    experiment.slo,
                    agents=search.agents,
                    from_s=watch.from_s,
                    to_s=watch.to_s,
                    confidence=search.confidence,
                    occupancy=seen.occupancy,
                    failed_share_max=experiment.audit.failed_share,
                    expects_429=provider is not None and provider.has_limits,
                )
            )
