"""The most agents read off a curve, against curves that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swarm.config.load import SearchConfig
from swarm.config.slo import ObjectiveConfig
from swarm.load.curve import Seen, most_agents
from swarm.load.curve_search import CurveSearch
from swarm.measure.level_check import Evidence, LevelCheck

SLO = ObjectiveConfig(metric="effective_ttft_s", quantile=0.95, at_most=2.0)


def share(agents: int, most: float, steepness: float) -> float:
    """Return the good share of a curve that passes 0.95 at `most`."""
    logit = math.log(0.95 / 0.05) - steepness * math.log(agents / most)
    return 1.0 / (1.0 + math.exp(-logit))


@pytest.mark.parametrize("steepness", [4.0, 8.0])
@pytest.mark.parametrize("most", [12.0, 48.0, 700.0])
def test_an_interval_holds_the_agents_of_a_known_curve(most: float, steepness: float) -> None:
    generator = np.random.default_rng(1)
    held, ratios = 0, []
    for _ in range(40):
        looks = []
        for factor in (0.5, 0.75, 1.1, 1.3, 1.0, 0.95, 1.05):
            agents = max(1, round(most * factor))
            own = most * math.exp(0.1 * generator.standard_normal())
            looks.append(Seen(agents, 90, int(generator.binomial(90, share(agents, own, steepness)))))
        found = most_agents(looks, 0.95, 0.9)
        assert found is not None
        held += found.low <= most <= found.high
        ratios.append(found.high / found.low)
    assert held >= 35
    assert np.median(ratios) < 1.8


def test_looks_without_requests_tell_nothing() -> None:
    assert most_agents([Seen(4, 0, 0)], 0.95, 0.9) is None


def check(agents: int, good: int, trials: int, at_s: float, length_s: float = 40.0) -> LevelCheck:
    value = good / trials
    evidence = Evidence(SLO.name, SLO.metric, value, 0.0, 1.0, 0.95, trials)
    return LevelCheck(agents, at_s - length_s, at_s, trials, (evidence,), 0.9, 0.0, None, 0.0, 0.0, 0.0)


def searching(**changes: float) -> CurveSearch:
    config = {"answer": "curve", "agents_from": 20, "growth": 1.5, "hold_min_s": 40, **changes}
    return CurveSearch(SearchConfig.model_validate(config), [SLO], duration_s=600.0)


def test_levels_grow_while_all_is_good_and_follow_the_middle_after_a_miss() -> None:
    search = searching()
    walked = []
    for at_s, agents_good in ((60, 60), (120, 60), (180, 60)):
        walked.append(search.agents)
        search.judge(check(search.agents, agents_good, 60, at_s))
    assert walked == [20, 30, 45]
    search.judge(check(search.agents, 20, 60, 240))
    assert search.agents < 68
    assert search.answer()["agents_high"] <= 68


def test_a_search_that_missed_nothing_has_no_upper_end() -> None:
    search = searching()
    search.judge(check(20, 80, 80, 60.0))
    answer = search.answer()
    assert (answer["agents_high"], answer["bound_by"]) == (None, None)
    assert answer["agents_low"] <= 20
    assert answer["within"] == ["effective_ttft_s p95 <= 2"]


def test_what_bound_is_told_of_the_lowest_level_that_missed() -> None:
    search = searching()
    search.judge(check(20, 80, 80, 60.0))
    search.judge(check(30, 40, 80, 120.0))
    answer = search.answer()
    assert (answer["bound_by"], answer["limiting_objective"]) == ("prefill", SLO.name)
    # The curve is not sure to the agent.
    assert 10 <= answer["agents_low"] <= answer["agents_high"] <= 33


def test_a_level_is_not_raised_beyond_what_the_time_lets_one_look_at() -> None:
    search = searching(ramp_per_agent_s=4.0)
    search.judge(check(20, 60, 60, 600.0 - 40 * 1.4 - 3 - 4.0 * 6))
    assert search.agents == 26


@pytest.mark.parametrize(("before", "after", "seconds"), [(0, 20, 80.0), (20, 30, 40.0)])
def test_agents_start_as_far_apart_as_their_contexts_take(before: int, after: int, seconds: float) -> None:
    search = searching(ramp_per_agent_s=4.0)
    search.agents = after
    assert search.ramp_s(4.0, before) == seconds


def test_an_agent_that_has_played_before_starts_sooner() -> None:
    search = searching(ramp_per_agent_s=4.0)
    search.judge(check(20, 60, 60, 100.0))
    search.agents = 20
    assert search.ramp_s(4.0, 10) == 10 * 4.0 / 4
