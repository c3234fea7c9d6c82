"""The search: its walk as tables, and its answer against fleets of known capacity."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import ORACLES, is_covered

from swarm.config.load import SearchConfig
from swarm.load.search import Search
from swarm.measure.level_check import Evidence, LevelCheck, share_interval
from swarm.measure.slo import Trials
from swarm.sim.run import simulate


def check(
    agents: int, low: float, high: float, *, required: float = 0.9, count: int = 100, drift: float = 0.0
) -> LevelCheck:
    evidence = Evidence("ttft_s p90", "ttft_s", (low + high) / 2, low, high, 0.9, count)
    return LevelCheck(agents, 0.0, 60.0, count, (evidence,), 0.9, drift, 0.5, 0.0, 0.0, 0.0)


PASS, FAIL, UNSURE = (0.95, 1.0), (0.1, 0.5), (0.85, 0.95)


def walk(search: Search, most: int, unsure: frozenset[int] = frozenset()) -> list[int]:
    """Return the levels tried against a fleet that carries `most` agents."""
    while not search.is_done:
        agents = search.agents
        ends = UNSURE if agents in unsure else PASS if agents <= most else FAIL
        search.judge(check(agents, *ends))
    return [level.agents for level in search.levels]


@pytest.mark.parametrize(
    ("config", "most", "levels", "answer"),
    [
        ({}, 5, [1, 2, 4, 8, 6, 5], (5, 5)),
        ({"agents_from": 8}, 3, [8, 4, 2, 3], (3, 3)),
        ({"agents_from": 8}, 0, [8, 4, 2, 1], (0, 0)),
        ({"agents_max": 4}, 100, [1, 2, 4], (4, None)),
        ({"agents_from": 64, "resolution": 0.2}, 100, [64, 128, 96, 112], (96, 111)),
    ],
)
def test_levels_double_and_then_halve_the_gap(
    config: dict[str, float], most: int, levels: list[int], answer: tuple[int, int | None]
) -> None:
    search = Search(SearchConfig.model_validate(config), ttl_s=None)
    assert walk(search, most) == levels
    found = search.answer()
    assert (found["agents_low"], found["agents_high"]) == answer


def test_an_undecided_level_stays_inside_the_interval() -> None:
    search = Search(SearchConfig(hold_min_s=10, hold_max_s=40), ttl_s=None)
    walk(search, 9, frozenset({9, 10}))
    found = search.answer()
    assert (found["agents_low"], found["agents_high"]) == (8, 10)
    assert {level["agents"] for level in found["levels"] if level["verdict"] == "undecided"} <= {9, 10}


def test_a_level_is_held_longer_each_time_and_then_left_undecided() -> None:
    search = Search(SearchConfig(hold_min_s=10, hold_max_s=40), ttl_s=None)
    holds = []
    while not search.levels:
        holds.append(search.check_after_s)
        search.judge(check(1, *UNSURE))
    assert holds == [10.0, 20.0, 40.0]
    assert search.levels[0].verdict == "undecided"


@pytest.mark.parametrize(
    ("changes", "why"), [({"drift": 0.1}, "hit rate still moves"), ({"count": 5}, "too few trials")]
)
def test_a_level_that_has_not_settled_is_not_judged(changes: dict[str, float], why: str) -> None:
    search = Search(SearchConfig(hold_min_s=10, hold_max_s=20), ttl_s=None)
    search.judge(check(1, *FAIL, **changes))  # type: ignore[arg-type]
    assert not search.levels
    search.judge(check(1, *FAIL, **changes))  # type: ignore[arg-type]
    assert (search.levels[0].verdict, why in search.levels[0].why) == ("undecided", True)


def test_a_pass_after_a_failure_must_be_seen_twice() -> None:
    search = Search(SearchConfig(agents_from=4), ttl_s=None)
    search.judge(check(4, *FAIL))
    search.judge(check(2, *PASS))
    assert len(search.levels) == 1
    search.judge(check(2, *UNSURE))
    search.judge(check(2, *PASS))
    assert len(search.levels) == 1
    search.judge(check(2, *PASS))
    assert search.levels[1].verdict == "passed"


def test_a_level_is_held_for_the_longest_ttl_or_left_undecided() -> None:
    config = SearchConfig(hold_min_s=60, hold_max_s=960)
    assert Search(config, ttl_s=300.0).check_after_s == 300.0
    search = Search(config, ttl_s=3600.0)
    search.judge(check(1, *PASS))
    assert search.levels[0].verdict == "undecided"


@pytest.mark.parametrize(("share", "correlation"), [(0.9, 0.0), (0.9, 0.8), (0.99, 0.0)])
def test_an_interval_holds_the_true_share(share: float, correlation: float) -> None:
    """Runs of equal outcomes of a mean length 1 / (1 - correlation) are worth fewer trials."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        fresh = generator.random(2000) >= correlation
        fresh[0] = True
        drawn = generator.random(2000) < share
        good = drawn[np.maximum.accumulate(np.where(fresh, np.arange(2000), 0))]
        _, low, high = share_interval(Trials(good, np.arange(2000.0), 0.9), 0.0, 2000.0, 0.99)
        held += low <= share <= high
    # Ten batches make the spread itself uncertain: 0.99 nominal holds in about 0.96.
    assert held / 300 >= 0.94


def test_nothing_seen_decides_nothing() -> None:
    _, low, high = share_interval(Trials(np.zeros(0, np.bool_), np.zeros(0), 0.9), 0.0, 1.0, 0.95)
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(1, 21))
def test_the_interval_holds_the_capacity_known_in_closed_form(seed: int) -> None:
    name = list(ORACLES)[seed % len(ORACLES)]
    oracle = ORACLES[name](seed)
    answer = simulate(oracle.experiment, ()).totals.capacity
    assert answer is not None
    assert is_covered(answer, oracle.truth), f"SEED={seed} {name}: {oracle.truth} in {answer}"


@pytest.mark.parametrize(("name", "bound"), [("decode", "decode"), ("prefill", "prefill"), ("pool", "tier")])
def test_an_answer_names_what_bound_it(name: str, bound: str) -> None:
    answer = simulate(ORACLES[name](1).experiment, ()).totals.capacity
    assert answer is not None
    assert answer["bound_by"] == bound


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_a_search_gives_the_same_bytes_twice(cache: str) -> None:
    experiment = ORACLES["pool"](3).experiment
    search = experiment.load.search
    assert search is not None
    load = experiment.load.model_copy(update={"search": search.model_copy(update={"cache": cache})})
    experiment = experiment.model_copy(update={"load": load})
    first, second = (simulate(experiment, ()) for _ in range(2))
    assert first.rows.equals(second.rows)
    assert first.totals.capacity == second.totals.capacity
