"""A search's program driven in virtual time."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.fleet.build import build_fleet
from swarm.fleet.fleet import Fleet
from swarm.load.search_program import (
    READINGS,
    EmptyCaches,
    SearchEffect,
    Seen,
    SetLevel,
    WatchLevel,
    search_of,
    search_program,
)


class VirtualTime(Protocol):
    """What a search needs of a kernel."""

    now_s: float
    is_stopped: bool

    def run(self, until_s: float) -> None:
        """Advance to the last thing due at or before `until_s`."""

    def run_dry(self) -> None:
        """Let requests in flight end, however long it takes; every agent has been retired."""

    def move_to(self, fleet: Fleet) -> None:
        """Send requests to another fleet from now on; none is in flight."""


class Slots(Protocol):
    """Where sessions are played."""

    def open(self, slot: int, at_s: float) -> None:
        """Let a slot play sessions from a time on."""

    def close(self, slot: int, at_s: float) -> None:
        """Let a slot's session start no more turns."""


class LatestRows(Protocol):
    """Where requests that have ended are recorded."""

    def take_latest(self) -> pa.Table:
        """Return the rows since the last call; the first call begins to keep them."""


class SimulatedSearch:
    """Carries out what a search asks for, on a kernel and its slots."""

    def __init__(
        self,
        experiment: Experiment,
        kernel: VirtualTime,
        fleet: Fleet,
        slots: Slots,
        recorded: LatestRows,
        *,
        slots_count: int,
    ) -> None:
        self._experiment = experiment
        self._kernel = kernel
        self._slots = slots
        self._recorded = recorded
        self._search = search_of(experiment)
        self._program = search_program(self._search, experiment, slots=slots_count)
        self._fleet = fleet
        self._counted: list[dict[str, Any]] = []
        """What the fleets of earlier levels counted: each cold level has its own."""
        self._now_s = 0.0

    def run(self) -> float:
        """Carry the search out; return when it ended."""
        answer: float | Seen | None = None
        while True:
            try:
                effect = self._program.send(answer)
            except StopIteration:
                return self._now_s
            answer = self._carry_out(effect)
            if self._kernel.is_stopped:
                return self._kernel.now_s

    def answer(self) -> dict[str, Any]:
        """Return what is known of the most agents."""
        return self._search.answer()

    def counters(self) -> dict[str, Any]:
        """Return what all fleets counted, added up; each of them is audited.

        Raises:
            AuditError: A count does not balance.
        """
        self._fleet.audit()
        return summed([*self._counted, self._fleet.counters()])

    def _carry_out(self, effect: SearchEffect) -> float | Seen:
        match effect:
            case SetLevel():
                return self._set_level(effect)
            case EmptyCaches():
                return self._empty(effect)
            case WatchLevel():
                return self._watch(effect)

    def _set_level(self, level: SetLevel) -> float:
        now_s = self._now_s
        for slot in range(level.agents, level.before):
            self._slots.close(slot, now_s)
        for slot in range(level.before, level.agents):
            self._slots.open(slot, level.start_s(slot, now_s))
        self._recorded.take_latest()
        return now_s

    def _empty(self, effect: EmptyCaches) -> float:
        """End all that is under way and put an empty fleet in its place."""
        for slot in range(effect.before):
            self._slots.close(slot, self._now_s)
        self._kernel.run_dry()
        self._now_s = max(self._now_s, self._kernel.now_s)
        if not self._kernel.is_stopped:
            self._fleet.audit()
            self._counted.append(self._fleet.counters())
            self._fleet.close()
            self._fleet = build_fleet(self._experiment.fleet)
            self._kernel.move_to(self._fleet)
        return self._now_s

    def _watch(self, watch: WatchLevel) -> Seen:
        self._kernel.run(watch.from_s)
        self._recorded.take_latest()
        occupancy = []
        for number in range(1, READINGS + 1):
            self._kernel.run(watch.reading_s(number))
            used = occupancy_of(self._fleet)
            if used is not None:
                occupancy.append(used)
        self._now_s = watch.to_s
        return Seen(self._recorded.take_latest(), occupancy)


def occupancy_of(fleet: Fleet) -> float | None:
    """Return the mean share of HBM's blocks in use, over ranks; None where HBM has no end."""
    shares = []
    for rank in fleet.ranks:
        capacity = rank.hierarchy.tiers[0].spec.capacity_blocks
        if capacity:
            shares.append(1.0 - rank.hierarchy.room_blocks / capacity)
    return sum(shares) / len(shares) if shares else None


def summed(counters: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the counters of fleets of one shape, added up."""
    first = counters[0]
    return {
        name: summed([each[name] for each in counters])
        if isinstance(first[name], dict)
        else sum(each[name] for each in counters)
        for name in first
    }
