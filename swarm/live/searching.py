"""A search's program driven on wall time: hosts are directed, and watched by what they report.

Rows come from the coordinator's journal, which lies on the driver's node, and the occupancy from the servers'
own gauges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.errors import RunError
from swarm.live.directed_slots import Order
from swarm.live.targets.control import forgets, occupancy
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
from swarm.load.search_words import told_look
from swarm.measure.latency import floats
from swarm.records.batch import Batch
from swarm.records.columns import SCHEMA
from swarm.records.journal import frame_bytes, read_journal
from swarm.records.takeover import split

BEGIN_S = 1.0
"""From an order to the first session that it starts: all hosts have it by then."""
REPORTED_S_MAX = 15.0
"""How long a check waits for the reports of its last requests."""
COLD_S_MAX = 300.0
"""How long requests may take to end before a cold level."""


class Reported:
    """Rows of requests that have ended, as the coordinator writes them down."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        self._tables: list[pa.Table] = []
        self._heard_s: dict[int, float] = {}

    def read(self) -> None:
        """Take in what was written since the last call."""
        if not self._path.exists():
            return
        for message in read_journal(self._path, start=self._read_bytes):
            self._read_bytes += frame_bytes(message)
            batch = Batch.of_frame(message)
            self._tables.append(split(batch)[0])
            self._heard_s[batch.host] = max(batch.gauges.at_s, self._heard_s.get(batch.host, 0.0))

    @property
    def until_s(self) -> float:
        """Return the time up to which every host has reported."""
        return min(self._heard_s.values(), default=0.0)

    def since(self, at_s: float) -> pa.Table:
        """Return the rows that ended at or after a time, and keep no older ones."""
        table = pa.concat_tables([pa.Table.from_batches([], schema=SCHEMA), *self._tables])
        table = table.filter(pa.array(floats(table, "completed_s") >= at_s))
        self._tables = [table]
        return table


class Searching:
    """Steps a search's program from the driver's loop."""

    def __init__(
        self,
        experiment: Experiment,
        journal: Path,
        *,
        most: int,
        direct: Callable[[Order], None],
        note: Callable[[str], None],
    ) -> None:
        self._experiment = experiment
        self._search = search_of(experiment)
        self._program = search_program(self._search, experiment, slots=most)
        self._direct = direct
        self._note = note
        self._reported = Reported(journal)
        self._effect: SearchEffect | None = next(self._program)
        """What is under way; None once the search has ended."""
        self._emptying_s: float | None = None
        """Since when a cold level waits for the last request to end."""
        self._readings = 0
        """How many times the occupancy was due while the level is watched."""
        self._occupancy: list[float] = []
        self._levels_told = 0
        self.order = Order(0, 0, 0.0, 0.0)
        """What hosts were told last."""

    @property
    def is_done(self) -> bool:
        """Whether the search has ended: its answer is as narrow as asked for, or the load's time is over."""
        return self._effect is None

    def answer(self) -> dict[str, Any]:
        """Return what is known of the most agents."""
        return self._search.answer()

    def step(self, now_s: float, open_requests: int) -> None:
        """Do what is due at a time of the run; called a few times a second."""
        self._reported.read()
        while self._effect is not None:
            answer = self._carry_out(self._effect, now_s, open_requests)
            if answer is None:
                return
            self._effect = self._following(answer)
            self._tell_level()

    def _following(self, answer: float | Seen) -> SearchEffect | None:
        try:
            return self._program.send(answer)
        except StopIteration:
            return None

    def _carry_out(self, effect: SearchEffect, now_s: float, open_requests: int) -> float | Seen | None:
        """Return the program's answer; None while the effect is under way."""
        match effect:
            case SetLevel():
                self._order(Order(effect.agents, effect.before, now_s + BEGIN_S, effect.ramp_s))
                return now_s + BEGIN_S
            case EmptyCaches():
                return self._empty(effect, now_s, open_requests)
            case WatchLevel():
                return self._watch(effect, now_s)

    def _order(self, order: Order) -> None:
        self.order = order
        self._direct(order)

    def _watch(self, watch: WatchLevel, now_s: float) -> Seen | None:
        due = self._readings
        while due < READINGS and watch.reading_s(due + 1) <= now_s:
            due += 1
        if due > self._readings:
            self._readings = due
            used = asyncio.run(occupancy(self._experiment.target))
            if used is not None:
                self._occupancy.append(used)
        if now_s < watch.to_s:
            return None
        if self._reported.until_s < watch.to_s and now_s < watch.to_s + REPORTED_S_MAX:
            return None
        read, self._occupancy, self._readings = self._occupancy, [], 0
        return Seen(self._reported.since(watch.from_s), read)

    def _empty(self, effect: EmptyCaches, now_s: float, open_requests: int) -> float | None:
        """End all that is under way and empty the caches."""
        if self._emptying_s is None:
            self._emptying_s = now_s
            self._order(Order(0, effect.before, now_s, 0.0))
            return None
        waited_s = now_s - self._emptying_s
        if waited_s < 2 * self._experiment.hosts.report_every_s or (open_requests and waited_s < COLD_S_MAX):
            return None
        if not asyncio.run(forgets(self._experiment.target)):
            raise RunError(
                "load.search.cache is cold, and the target did not empty its caches when asked to (POST "
                "/reset_prefix_cache or /flush_cache): start vLLM with VLLM_SERVER_DEV_MODE=1, or search warm"
            )
        self._emptying_s = None
        return now_s

    def _tell_level(self) -> None:
        """Tell the user of a level that has just been left."""
        levels = self._search.levels
        if len(levels) > self._levels_told:
            self._levels_told = len(levels)
            last = levels[-1]
            self._note(told_look(last, self.answer()))
