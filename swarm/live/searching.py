"""A search's levels on wall time: the driver directs hosts, and looks at what they have reported.

The decisions are those of `load.search`; this says when a look is due and gathers what it needs: rows from
the coordinator's journal, which lies on the driver's node, and the occupancy from the servers' own gauges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.errors import RunError
from swarm.live.directed_slots import Order
from swarm.live.targets.control import forgets, occupancy
from swarm.load.search import Search
from swarm.measure.latency import floats
from swarm.measure.level_check import look_at
from swarm.records.batch import Batch
from swarm.records.columns import SCHEMA
from swarm.records.journal import frame_bytes, read_journal
from swarm.records.takeover import split

SLICES = 20
"""Times that the servers' occupancy is read within a look."""
BEGIN_S = 1.0
"""From an order to the first session that it starts: all hosts have it by then."""
REPORTED_S_MAX = 15.0
"""How long a look waits for the reports of its last requests."""
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


@dataclass(slots=True)
class Held:
    """The level that is held now."""

    agents: int
    begun_s: float
    """When all of its sessions have started."""
    readings: int = 0
    """Of the occupancy, within the look that is under way."""
    occupancy: list[float] = field(default_factory=list)


class Searching:
    """Steps a search from the driver's loop."""

    def __init__(
        self,
        experiment: Experiment,
        journal: Path,
        *,
        most: int,
        direct: Callable[[Order], None],
        note: Callable[[str], None],
    ) -> None:
        config = experiment.load.search
        assert config is not None
        ttls = [tier.ttl_s for tier in experiment.fleet.tiers if tier.ttl_s is not None]
        self._experiment = experiment
        self._search = Search(config, ttl_s=max(ttls, default=None))
        self._is_cold = config.cache == "cold"
        self._most = most
        self._direct = direct
        self._note = note
        self._reported = Reported(journal)
        self._held: Held | None = None
        self._emptying_s: float | None = None
        """Since when a cold level waits for the last request to end."""
        self.order = Order(0, 0, 0.0, 0.0)
        """What hosts were told last."""

    @property
    def is_done(self) -> bool:
        """Whether the answer is as narrow as asked for."""
        return self._search.is_done

    def answer(self) -> dict[str, Any]:
        """Return what is known of the most agents."""
        return self._search.answer()

    def step(self, now_s: float, open_requests: int) -> None:
        """Do what is due at a time of the run; called a few times a second."""
        self._reported.read()
        if self._search.is_done:
            return
        if self._held is None:
            if self._is_cold and self._search.levels and not self._is_empty(now_s, open_requests):
                return
            self._held = self._go_to(self._search.agents, now_s)
            return
        held = self._held
        after_s = self._search.look_after_s
        from_s, to_s = held.begun_s + after_s / 2, held.begun_s + after_s
        if from_s + held.readings * (to_s - from_s) / SLICES <= now_s < to_s:
            held.readings += 1
            used = asyncio.run(occupancy(self._experiment.target))
            if used is not None:
                held.occupancy.append(used)
        if now_s >= to_s and (self._reported.until_s >= to_s or now_s >= to_s + REPORTED_S_MAX):
            self._look(held, from_s, to_s)

    def _go_to(self, agents: int, now_s: float) -> Held:
        """Let hosts bring the sessions to a level."""
        agents = min(agents, self._most)
        before, ramp_s = self.order.agents, self._experiment.load.ramp_s
        self.order = Order(agents, before, now_s + BEGIN_S, ramp_s)
        self._direct(self.order)
        return Held(agents, now_s + BEGIN_S + (ramp_s if agents > before else 0.0))

    def _look(self, held: Held, from_s: float, to_s: float) -> None:
        search, levels = self._search, len(self._search.levels)
        search.look(
            look_at(
                self._reported.since(from_s),
                self._experiment.slo,
                agents=search.agents,
                from_s=from_s,
                to_s=to_s,
                confidence=search.confidence,
                occupancy=held.occupancy,
            )
        )
        held.readings = 0
        held.occupancy.clear()
        if len(search.levels) > levels:
            last = search.levels[-1]
            why = f": {last.why}" if last.why else ""
            self._note(f"{last.agents} agents {last.verdict} after {to_s - held.begun_s:.0f} s{why}")
            self._held = None

    def _is_empty(self, now_s: float, open_requests: int) -> bool:
        """End all that is under way and empty the caches; True when that is done."""
        if self._emptying_s is None:
            self._emptying_s = now_s
            self.order = Order(0, self.order.agents, now_s, 0.0)
            self._direct(self.order)
            return False
        waited_s = now_s - self._emptying_s
        if waited_s < 2 * self._experiment.hosts.report_every_s or (open_requests and waited_s < COLD_S_MAX):
            return False
        if not asyncio.run(forgets(self._experiment.target)):
            raise RunError(
                "load.search.cache is cold, and the target did not empty its caches when asked to (POST "
                "/reset_prefix_cache or /flush_cache): start vLLM with VLLM_SERVER_DEV_MODE=1, or search warm"
            )
        self._emptying_s = None
        return True
