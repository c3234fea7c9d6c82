"""Which session starts when: slots, each a chain of sessions, the same for any number of hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarm.config.load import ArrivalsShape, LoadConfig, RecordedShape
from swarm.load.shapes import Arrivals, Shape, Span, shape_of


@dataclass(frozen=True, slots=True)
class Pacing:
    """Slots in a shape over time; slot k plays sessions k, k + slots, k + 2 slots, ..."""

    shape: Shape
    asked: Shape
    """The shape with sessions for every slot that the load asks for."""
    duration_s: float | None
    sessions_max: int | None
    replaces: bool

    @property
    def slots(self) -> int:
        """How many slots there are, at the most used at once."""
        return self.shape.slots

    def spans(self, slot: int) -> tuple[Span, ...]:
        """Return when the slot has sessions; one that is at work at a span's end starts no more turns."""
        return self.shape.spans(slot)

    def start_s(self, slot: int) -> float:
        """Return when a slot from this one on is first needed; 0 where that is not planned."""
        if isinstance(self.shape, Arrivals):
            return min(self.shape.times_s[slot:], default=0.0)
        spans = self.spans(slot)
        return spans[0].start_s if spans else 0.0

    def session_index(self, slot: int, generation: int) -> int | None:
        """Return the slot's session of that generation, or None where it has no more."""
        if generation > 0 and not self.replaces:
            return None
        index = slot + generation * self.slots
        if self.sessions_max is not None and index >= self.sessions_max:
            return None
        return index


def pacing_of(
    load: LoadConfig, sessions_count: int | None, seed: int, arrivals_s: Sequence[float] = ()
) -> Pacing:
    """Return the plan of a load over a workload of `sessions_count` sessions (None: unlimited).

    `arrivals_s`: when each of them was recorded to start, in their order.
    """
    limits = [limit for limit in (load.sessions_max, sessions_count) if limit is not None]
    sessions_max = min(limits) if limits else None
    return Pacing(
        shape=shape_of(load, sessions_max, seed, arrivals_s),
        asked=shape_of(load, None, seed, arrivals_s),
        duration_s=load.duration_s,
        sessions_max=sessions_max,
        replaces=load.replace and not isinstance(load.shape, ArrivalsShape | RecordedShape),
    )
