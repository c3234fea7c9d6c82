"""A simulated search: what its fleets counted, and where a watch ends it."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest
from oracles import ORACLES

from swarm.config.experiment import Experiment
from swarm.sim.kernel import WATCH_REQUESTS
from swarm.sim.run import simulate, simulated
from swarm.sim.searching import summed


def searching(cache: str) -> Experiment:
    experiment = ORACLES["pool"](3).experiment
    search = experiment.load.search
    assert search is not None
    load = experiment.load.model_copy(update={"search": search.model_copy(update={"cache": cache})})
    return experiment.model_copy(update={"load": load})


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_the_fleets_of_all_levels_have_counted_the_hits_that_the_rows_tell(cache: str) -> None:
    experiment = searching(cache)
    results = simulate(experiment, ())
    rows, counted = results.rows, results.totals.fleet
    assert counted is not None
    assert set(pc.unique(rows["outcome"]).to_pylist()) == {"ok"}
    hits = counted["tiers"]["hbm"]["hit_blocks"] * experiment.fleet.block_tokens
    assert hits == pc.sum(rows["cached_tokens"]).as_py()
    assert counted["preemptions"] == 0


def test_a_cold_search_hits_less_than_a_warm_one() -> None:
    warm, cold = (simulated(searching(cache)).summary() for cache in ("warm", "cold"))
    assert cold["cache"]["hit_rate"] < warm["cache"]["hit_rate"]


def test_counters_of_several_fleets_are_added_name_by_name() -> None:
    one = {"preemptions": 1, "tiers": {"hbm": {"hit_blocks": 2}, "dram": {"hit_blocks": 3}}}
    two = {"preemptions": 4, "tiers": {"hbm": {"hit_blocks": 5}, "dram": {"hit_blocks": 6}}}
    assert summed([one, two]) == {
        "preemptions": 5,
        "tiers": {"hbm": {"hit_blocks": 7}, "dram": {"hit_blocks": 9}},
    }


class Impatient:
    """Ends a run when it is first asked."""

    def __init__(self) -> None:
        self.at_s = -1.0

    def goes_on(self, now_s: float, ended_count: int, open_count: int) -> bool:
        assert ended_count == WATCH_REQUESTS
        self.at_s = now_s
        return False


def test_a_search_that_a_watch_ends_is_measured_up_to_there_and_is_not_complete() -> None:
    watch = Impatient()
    totals = simulated(searching("warm"), watch=watch).results.totals
    assert totals.measured_to_s == watch.at_s
    assert totals.capacity is not None
    assert not totals.capacity["is_complete"]
