"""How late emulated servers sent their events over the measured phase, by their own histograms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from swarm.measure.saturation import ServerBusy


@dataclass(frozen=True, slots=True)
class EventLateness:
    """Moments at which one server sent events, by how long after their time that was."""

    server: int
    late_by_bound: Mapping[float, float]
    """Moments that were late by each bound in seconds at most; the last bound is infinite."""

    def share_over(self, bound_s: float) -> float:
        """Return the share of moments that were surely later than `bound_s`: 0 where none is known."""
        counts = self.late_by_bound
        most = max(counts.values(), default=0.0)
        within = min((count for bound, count in counts.items() if bound >= bound_s), default=most)
        return (most - within) / most if most > 0 else 0.0


def event_lateness(before: ServerBusy | None, after: ServerBusy | None) -> tuple[EventLateness, ...]:
    """Return what each server counted in between; one that was started anew in it is not known."""
    if before is None or after is None:
        return ()
    found: list[EventLateness] = []
    pairs = zip(before.late_by_bound, after.late_by_bound, strict=False)
    for server, (first, last) in enumerate(pairs):
        grown = {bound: count - first.get(bound, 0.0) for bound, count in last.items()}
        if grown and min(grown.values()) >= 0:
            found.append(EventLateness(server, grown))
    return tuple(found)
