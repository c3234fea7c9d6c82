"""A search's levels, in virtual time."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.fleet.build import build_fleet
from swarm.fleet.fleet import Fleet
from swarm.load.search import Search
from swarm.measure.level_check import look_at
from swarm.records.columns import SCHEMA
from swarm.records.row import RequestRow
from swarm.records.rows import batch_of
from swarm.sim.kernel import Kernel

SLICES = 20
"""Pieces of a look, at whose ends the fleet's occupancy is read."""


class Slots(Protocol):
    """Where sessions are played."""

    fresh: list[RequestRow] | None
    """Rows since the search last took them."""

    def open(self, slot: int, at_s: float) -> None:
        """Let a slot play sessions from a time on."""

    def close(self, slot: int, at_s: float) -> None:
        """Let a slot's session start no more turns."""


class Searching:
    """Opens and closes slots as a search says, and shows it what came of it."""

    def __init__(self, experiment: Experiment, kernel: Kernel, slots: Slots, fleet: Fleet, most: int) -> None:
        config = experiment.load.search
        assert config is not None
        ttls = [tier.ttl_s for tier in experiment.fleet.tiers if tier.ttl_s is not None]
        self._experiment = experiment
        self._kernel = kernel
        self._slots = slots
        self._fleet = fleet
        self._most = most
        self._is_cold = config.cache == "cold"
        self._search = Search(config, ttl_s=max(ttls, default=None))
        self._open = 0
        self._now_s = 0.0
        slots.fresh = []

    def run(self) -> tuple[dict[str, Any], float]:
        """Walk the levels; return the answer and when the last of them ended."""
        limit_s = self._experiment.load.duration_s
        search = self._search
        while not search.is_done and not self._kernel.is_stopped:
            begun_s = self._go_to(search.agents)
            agents = search.agents
            while not search.is_done and search.agents == agents:
                until_s = begun_s + search.look_after_s
                if self._kernel.is_stopped or (limit_s is not None and until_s > limit_s):
                    return search.answer(), self._now_s
                levels = len(search.levels)
                self._look(begun_s + search.look_after_s / 2, until_s)
                if len(search.levels) > levels:
                    break
        return search.answer(), self._now_s

    def _go_to(self, agents: int) -> float:
        """Bring the sessions to a level; return when all of them have started."""
        if self._is_cold and self._search.levels:
            self._empty()
        agents = min(agents, self._most)
        now_s, ramp_s = self._now_s, self._experiment.load.ramp_s
        for slot in range(agents, self._open):
            self._slots.close(slot, now_s)
        added = agents - self._open
        for place, slot in enumerate(range(self._open, agents)):
            self._slots.open(slot, now_s + ramp_s * place / added)
        self._open = agents
        self._take()
        return now_s + (ramp_s if added > 0 else 0.0)

    def _empty(self) -> None:
        """End all that is under way and put an empty fleet in its place."""
        for slot in range(self._open):
            self._slots.close(slot, self._now_s)
        self._open = 0
        self._kernel.run_dry()
        self._now_s = max(self._now_s, self._kernel.now_s)
        self._fleet.audit()
        self._fleet = build_fleet(self._experiment.fleet)
        self._kernel.move_to(self._fleet)

    def _look(self, from_s: float, to_s: float) -> None:
        self._kernel.run(from_s)
        self._take()
        occupancy = []
        for place in range(1, SLICES + 1):
            self._kernel.run(from_s + (to_s - from_s) * place / SLICES)
            used = occupancy_of(self._fleet)
            if used is not None:
                occupancy.append(used)
        self._now_s = to_s
        self._search.look(
            look_at(
                self._take(),
                self._experiment.slo,
                agents=self._search.agents,
                from_s=from_s,
                to_s=to_s,
                confidence=self._search.confidence,
                occupancy=occupancy,
            )
        )

    def _take(self) -> pa.Table:
        """Return the rows since the last call."""
        rows, self._slots.fresh = self._slots.fresh or [], []
        return pa.Table.from_batches([batch_of(rows)] if rows else [], schema=SCHEMA)


def occupancy_of(fleet: Fleet) -> float | None:
    """Return the mean share of HBM's blocks in use, over ranks; None where HBM has no end."""
    shares = []
    for rank in fleet.ranks:
        capacity = rank.hierarchy.tiers[0].spec.capacity_blocks
        if capacity:
            shares.append(1.0 - rank.hierarchy.room_blocks / capacity)
    return sum(shares) / len(shares) if shares else None
