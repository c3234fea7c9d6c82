"""One search, two clocks: against the same scripted world both drivers walk the same levels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from heapq import heappop, heappush
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from scripted_levels import ended_row

from swarm.config.experiment import Experiment
from swarm.fleet.build import build_fleet
from swarm.fleet.fleet import Fleet
from swarm.live.directed_slots import Order
from swarm.live.searching import Searching
from swarm.measure.sketch import Sketch
from swarm.records.batch import Batch, Gauges
from swarm.records.columns import SCHEMA
from swarm.records.journal import Journal
from swarm.records.row import RequestRow
from swarm.records.rows import batch_of, to_message
from swarm.sim.searching import SimulatedSearch

TRUTH = 5
STEP_S = 0.5
EVERY_S = 0.25
TTFT_S = 0.1
"""What each session that plays adds to the TTFT of all."""
WALK = [(4, "passed"), (8, "failed"), (6, "failed"), (5, "passed")]
TABLES = [
    ({"agents_from": 4}, None, WALK),
    ({"agents_from": 4, "cache": "cold"}, None, WALK),
    ({"agents_from": 8, "agents_max": 8}, 130.0, [(8, "failed"), (4, "passed")]),
]
"""What is asked for, the load's duration, and the levels by the rule of `load.search`."""


class Server(BaseHTTPRequestHandler):
    """A server that tells its occupancy, and empties its caches when asked to."""

    def do_GET(self) -> None:
        self._answer(b"vllm:kv_cache_usage_perc 0.5\n")

    def do_POST(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def experiment(url: str, search: dict[str, Any], duration_s: float | None) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "scripted",
            "workload": {"kind": "synthetic"},
            "target": {"urls": [url]},
            "load": {
                "ramp_s": 2.0,
                "duration_s": duration_s,
                "search": {"hold_min_s": 40, "hold_max_s": 160, "requests_min": 10, **search},
            },
            "slo": [{"metric": "ttft_s", "quantile": 0.9, "at_most": TTFT_S * (TRUTH + 0.5)}],
        }
    )


class World:
    """Sessions that ask every quarter of a second and wait the longer the more of them there are."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, int]] = []
        """When a session asks next, its order among equals, its slot."""
        self._order = count()
        self._opened_s: dict[int, float] = {}
        self._rows: list[RequestRow] = []

    def open(self, slot: int, at_s: float) -> None:
        self._opened_s[slot] = at_s
        heappush(self._due, (at_s, next(self._order), slot))

    def close(self, slot: int, at_s: float) -> None:
        del self._opened_s[slot]
        self._due = sorted(each for each in self._due if each[2] != slot)

    def advance(self, to_s: float) -> None:
        while self._due and self._due[0][0] <= to_s:
            at_s, _, slot = heappop(self._due)
            playing = sum(opened_s <= at_s for opened_s in self._opened_s.values())
            self._rows.append(ended_row(at_s, TTFT_S * playing))
            heappush(self._due, (at_s + EVERY_S, next(self._order), slot))

    def take(self) -> pa.Table:
        rows, self._rows = self._rows, []
        return pa.Table.from_batches([batch_of(rows)] if rows else [], schema=SCHEMA)


class VirtualWorld(World):
    """The world as a kernel, its slots and its records."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.is_stopped = False

    def run(self, until_s: float) -> None:
        self.advance(until_s)
        self.now_s = until_s

    def run_dry(self) -> None:
        assert not self._due

    def move_to(self, fleet: Fleet) -> None:
        assert not self._due

    def take_latest(self) -> pa.Table:
        return self.take()


def searched_simulated(config: Experiment) -> dict[str, Any]:
    world = VirtualWorld()
    search = SimulatedSearch(config, world, build_fleet(config.fleet), world, world, slots_count=8)
    search.run()
    return search.answer()


def report(world: World, sequence: int, at_s: float) -> bytes:
    gauges = Gauges(at_s, 0, 0, 0, 0, 0.0, None, 0.0)
    empty = Sketch().to_bytes()
    return Batch(
        host=0, epoch=0, sequence=sequence, is_last=False, rows=to_message(world.take()), open_rows=0,
        windows=b"", places=(), agents=(), itl=empty, loop_lag=empty, gauges=gauges, sessions_ended=(),
        follows=(), faults=(),
    ).frame()  # fmt: skip


def searched_live(config: Experiment, folder: Path) -> dict[str, Any]:
    world, now_s = World(), 0.0

    def direct(order: Order) -> None:
        for slot in range(order.agents, order.before):
            world.close(slot, now_s)
        for slot in range(order.before, order.agents):
            world.open(slot, order.start_s(slot))

    journal = Journal(folder / "coordinator-0.journal")
    search = Searching(config, folder / "coordinator-0.journal", most=8, direct=direct, note=lambda _: None)
    for step in count():
        if search.is_done:
            return search.answer()
        now_s = step * STEP_S
        assert now_s < 10_000
        world.advance(now_s)
        journal.append(report(world, step, now_s))
        search.step(now_s, 0)
    raise AssertionError


@pytest.mark.parametrize(("search", "duration_s", "levels"), TABLES)
def test_both_clocks_walk_the_levels_that_the_rule_gives(
    search: dict[str, Any], duration_s: float | None, levels: list[Any], url: str, tmp_path: Path
) -> None:
    config = experiment(url, search, duration_s)
    live, simulated = searched_live(config, tmp_path), searched_simulated(config)
    assert [(level["agents"], level["verdict"]) for level in live["levels"]] == levels
    for key in ("agents", "verdict", "why", "looks", "value", "hold_s"):
        assert [level[key] for level in live["levels"]] == [level[key] for level in simulated["levels"]], key
    for key in ("agents_low", "agents_high", "limiting_objective", "is_complete"):
        assert live[key] == simulated[key], key
    assert live["is_complete"] is (duration_s is None)
