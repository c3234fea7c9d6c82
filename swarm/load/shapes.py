"""When a slot has a session: spans of time, from a load's shape and its seed alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from swarm.config.load import ArrivalsShape, LoadConfig, RampShape, RecordedShape, ScheduleShape, StepsShape
from swarm.errors import ConfigError
from swarm.streams import stream

ARRIVALS_MAX = 1_000_000
"""Sessions that one plan may hold."""


class Span(NamedTuple):
    """A time in which a slot has sessions; `end_s` None: to the end of the run."""

    start_s: float
    end_s: float | None


class Shape(Protocol):
    """When each slot is in use."""

    @property
    def slots(self) -> int:
        """How many slots there are."""

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return when the slot has sessions, in order."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """Slots that start evenly over a time."""

    slots: int
    over_s: float

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return when the slot has sessions."""
        return (Span(self.over_s * slot / self.slots, None),)


@dataclass(frozen=True, slots=True)
class Steps:
    """Slots that start in groups."""

    slots: int
    step: int
    every_s: float

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return when the slot has sessions."""
        return (Span(slot // self.step * self.every_s, None),)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Slots in use by time: slot k is, while more than k sessions are to be alive."""

    slots: int
    points: tuple[tuple[float, int], ...]
    is_linear: bool

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return when the slot has sessions."""
        spans: list[Span] = []
        start_s: float | None = None
        before_s, before = self.points[0]
        if before > slot:
            start_s = before_s
        for at_s, agents in self.points[1:]:
            crossed_s = at_s
            if self.is_linear and agents != before:
                share = (slot + 1 - before) / (agents - before)
                crossed_s = before_s + min(1.0, max(0.0, share)) * (at_s - before_s)
            if start_s is None and agents > slot:
                start_s = crossed_s
            elif start_s is not None and agents <= slot:
                spans.append(Span(start_s, crossed_s))
                start_s = None
            before_s, before = at_s, agents
        if start_s is not None:
            spans.append(Span(start_s, None))
        return tuple(spans)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A slot for each session that arrives."""

    times_s: tuple[float, ...]

    @property
    def slots(self) -> int:
        """One for each arrival."""
        return len(self.times_s)

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return when the slot's session starts."""
        return (Span(self.times_s[slot], None),)


@dataclass(frozen=True, slots=True)
class Directed:
    """Slots that are used when a search says so: none of them is planned."""

    slots: int

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return no time."""
        return ()


def arrival_times(shape: ArrivalsShape, duration_s: float, seed: int) -> tuple[float, ...]:
    """Return when sessions arrive up to a time: bursts at exponential distances."""
    mean_s = shape.burst / shape.per_s
    expected = duration_s / mean_s * shape.burst
    if expected > ARRIVALS_MAX / 2:
        raise ConfigError(
            f"load.shape: {expected:.0f} sessions would arrive in {duration_s:g} s, "
            f"at most {ARRIVALS_MAX // 2} are planned; lower per_s or duration_s"
        )
    generator = stream(seed, "arrivals", "")
    times: list[float] = []
    at_s = 0.0
    while True:
        # `log1p` of a uniform: one draw for each burst, the same whatever the duration.
        at_s -= mean_s * math.log1p(-float(generator.random()))
        if at_s >= duration_s:
            return tuple(times)
        times += [at_s] * shape.burst


def recorded_times(arrivals_s: Sequence[float]) -> tuple[float, ...]:
    """Return when recorded sessions arrive, from the first one on.

    Raises:
        ConfigError: They were not recorded.
    """
    first_s = min(arrivals_s, default=0.0)
    times = tuple(at_s - first_s for at_s in arrivals_s)
    if len(times) > 1 and not any(times):
        raise ConfigError(
            f"load.shape recorded: the {len(times)} sessions of workload.path state no arrivals: the times "
            "of each count from its own start; use kind arrivals or ramp"
        )
    return times


def shape_of(load: LoadConfig, agents_max: int | None, seed: int, arrivals_s: Sequence[float]) -> Shape:
    """Return the shape of a load whose sessions are at most `agents_max`."""

    def bounded(count: int) -> int:
        return count if agents_max is None else min(count, agents_max)

    if load.search is not None:
        return Directed(bounded(load.search.agents_max))
    agents = bounded(load.agents)
    match load.shape:
        case None:
            return Ramp(agents, load.ramp_s)
        case RampShape():
            return Ramp(agents, load.shape.over_s)
        case StepsShape():
            return Steps(agents, load.shape.step, load.shape.every_s)
        case ScheduleShape():
            most = max(count for _, count in load.shape.points)
            return Schedule(bounded(most), load.shape.points, load.shape.between == "linear")
        case ArrivalsShape():
            assert load.duration_s is not None
            return Arrivals(arrival_times(load.shape, load.duration_s, seed)[:agents_max])
        case RecordedShape():
            return Arrivals(recorded_times(arrivals_s[:agents_max]))
