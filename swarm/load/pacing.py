"""Which session starts when: slots, each a chain of sessions, the same for any number of hosts."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.load import LoadConfig


@dataclass(frozen=True, slots=True)
class Pacing:
    """A static number of slots; slot k plays sessions k, k + slots, k + 2 slots, ..."""

    slots: int
    ramp_s: float
    duration_s: float | None
    sessions_max: int | None
    replaces: bool

    @property
    def is_endless(self) -> bool:
        """Whether every slot has a session at any time once it has begun."""
        return self.replaces and self.sessions_max is None

    def start_s(self, slot: int) -> float:
        """Return when the slot's first session starts."""
        return self.ramp_s * slot / self.slots

    def session_index(self, slot: int, generation: int) -> int | None:
        """Return the slot's session of that generation, or None where it has no more."""
        if generation > 0 and not self.replaces:
            return None
        index = slot + generation * self.slots
        if self.sessions_max is not None and index >= self.sessions_max:
            return None
        return index


def pacing_of(load: LoadConfig, sessions_count: int | None) -> Pacing:
    """Return the plan of a load over a workload of `sessions_count` sessions (None: unlimited)."""
    limits = [limit for limit in (load.sessions_max, sessions_count) if limit is not None]
    sessions_max = min(limits) if limits else None
    slots = load.agents if sessions_max is None else min(load.agents, sessions_max)
    return Pacing(
        slots=slots,
        ramp_s=load.ramp_s,
        duration_s=load.duration_s,
        sessions_max=sessions_max,
        replaces=load.replace,
    )
