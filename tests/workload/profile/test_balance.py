"""What sets of sampled sessions are held to, and which candidate each place gets."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from swarm.config.profile import BalanceConfig
from swarm.config.read import read_profile
from swarm.report.fit.comparison import distance
from swarm.reuse.curves import hits_by_capacity
from swarm.reuse.survey import Survey
from swarm.workload.formats import fail, read_sessions
from swarm.workload.profile.balance import (
    ANY_GAP_S,
    CACHE_TOKENS,
    CHECK_EVERY,
    WITHIN_S,
    Yardstick,
    _reach_s,
    balance_of,
    choose,
    measure,
    rows_of,
)
from swarm.workload.profile.sample import Sampler
from swarm.workload.profile.turns import Floats, Turns, observe
from swarm.workload.recorded import RecordedRequest, RecordedSession

from .test_fit import SHIPPED


def off(sums: Floats, chosen: tuple[int, ...], yardstick: Yardstick) -> float:
    """Return how far the first 8, 16, ... of what was chosen are off in all."""
    total = np.cumsum(sums[np.arange(len(sums)), chosen], axis=0)
    counts = range(CHECK_EVERY, len(sums) + 1, CHECK_EVERY)
    return sum(np.sqrt(n) * yardstick.distances(total[n - 1 : n], n)[0] for n in counts)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_choice_for_one_place_is_closer(seed: int) -> None:
    balance = read_profile(SHIPPED).balance
    assert balance is not None
    yardstick = Yardstick(balance)
    targets = np.array(balance.targets)
    sums = targets * np.random.default_rng(seed).lognormal(sigma=0.5, size=(16, 3, len(targets)))
    chosen = choose(sums, yardstick)
    found = off(sums, chosen, yardstick)
    others = [
        off(sums, (*chosen[:place], other, *chosen[place + 1 :]), yardstick)
        for place in range(16)
        for other in range(3)
    ]
    assert min(others) == pytest.approx(found)
    greedy = [0] * 16
    for place in range(16):
        total = sums[np.arange(place), greedy[:place]].sum(axis=0) + sums[place]
        greedy[place] = int(np.argmin(yardstick.distances(total, place + 1)))
    assert found <= off(sums, tuple(greedy), yardstick)


def sampled_rows(sessions: int) -> Turns:
    sampler = Sampler(read_profile(SHIPPED))
    generator = np.random.default_rng(4)
    return rows_of([sampler.sessions((k + 0.5) / sessions, generator, 1)[0] for k in range(sessions)])


def test_sums_are_those_of_a_count_request_by_request() -> None:
    turns = sampled_rows(24)
    balance = balance_of(turns, 64, 24)
    sums = measure(turns, balance, 64, 24)
    expected = np.zeros_like(sums)
    for row, session in enumerate(turns.session):
        later, at_s, tokens = turns.index[row] > 0, turns.at_s[row], turns.input[row]
        gap_s = turns.gap_s[row] if later else np.inf
        known = turns.known_tokens[row] // 64 * 64
        think_s = turns.think_s[row] if later and not np.isnan(turns.think_s[row]) else np.inf
        grown = turns.growth[row] if later else np.inf
        band = min(sum(edge < at_s for edge in balance.time_edges_s), len(balance.time_edges_s) - 1)
        found = [1, tokens, tokens // 64 * 64, tokens // 64 * 64 - known, turns.agent[row] > 0]
        found += [tokens <= edge for edge in balance.input_edges]
        found += [turns.output[row] <= edge for edge in balance.output_edges]
        found += [gap_s <= edge for edge in balance.gap_edges_s]
        found += [think_s <= edge for edge in balance.think_edges_s]
        found += [grown <= edge for edge in balance.growth_edges]
        found += [known * (gap_s <= ttl_s) for ttl_s in balance.ttls_s]
        found += [tokens * (at_s <= edge_s) for edge_s in balance.time_edges_s]
        found += [known * (gap_s <= reach_s) for reach_s in balance.reach_s[band]]
        is_last = row + 1 == len(turns) or turns.index[row + 1] == 0
        until_next_s = np.inf if is_last else turns.at_s[row + 1] - at_s
        for within_s in balance.within_s:
            low = 0.0
            for high in balance.time_edges_s:
                inside_s = min(at_s + min(within_s, until_next_s), high) - max(at_s, low)
                found.append(tokens * max(0.0, inside_s) / max(high - low, 1e-9))
                low = high
        expected[session] += found
    assert sums == pytest.approx(expected)


def test_a_cache_holds_a_prompt_until_as_much_as_it_holds_was_used() -> None:
    count = min(len(WITHIN_S), len(CACHE_TOKENS) - 1)
    used = np.array([*CACHE_TOKENS[:count], *[CACHE_TOKENS[-2]] * (len(WITHIN_S) - count)])
    assert _reach_s(used)[:count] == WITHIN_S[:count]
    assert _reach_s(used)[-1] == ANY_GAP_S


def test_what_caches_hold_of_recorded_sessions_is_near_a_true_cache(shared_data: Path) -> None:
    sessions = list(read_sessions(shared_data / "agent-traces", "weka"))
    turns = observe(sessions).turns
    balance = balance_of(turns, 64, len(sessions))
    sums = measure(turns, balance, 64, len(sessions)).sum(axis=0)
    end = len(sums) - len(balance.within_s) * len(balance.time_edges_s)
    found = sums[end - len(CACHE_TOKENS) : end] / turns.input.sum()
    survey = Survey([], fail)
    for session in sessions:
        survey.add(session)
    reuse = survey.finish().reuse
    exact = [hits_by_capacity(reuse, int(tokens) * len(sessions)) for tokens in CACHE_TOKENS]
    assert found == pytest.approx(np.array(exact) / turns.input.sum(), abs=0.04)


def test_sessions_drawn_freely_send_what_recorded_ones_send(shared_data: Path) -> None:
    recorded = observe(list(read_sessions(shared_data / "agent-traces", "weka"))).turns
    sampled = sampled_rows(2400)
    means = [turns.input.sum() / (turns.session[-1] + 1) for turns in (sampled, recorded)]
    assert means[0] == pytest.approx(means[1], rel=0.05)
    assert distance(sampled.input, recorded.input) <= 0.05
    gaps_s = [turns.gap_s[turns.index > 0] for turns in (sampled, recorded)]
    assert distance(*gaps_s) <= 0.05


@pytest.mark.parametrize(
    ("key", "named"), [("targets", "targets: must have"), ("reach_s", "reach_s: must have 21 rows")]
)
def test_a_balance_that_lost_a_row_is_refused(key: str, named: str) -> None:
    balance = read_profile(SHIPPED).balance
    assert balance is not None
    data = balance.model_dump()
    data[key] = data[key][:-1]
    with pytest.raises(ValidationError, match=named):
        BalanceConfig.model_validate(data)


def test_what_a_session_sent_at_any_time_is_known() -> None:
    """A side request between two of the main thread keeps nothing of it, and the next one knows it again."""
    ids = [(1, 2, 3), (9,), (1, 2, 3, 4), (1, 2, 7)]
    requests = tuple(
        RecordedRequest(10.0 * k, "m", True, 64 * len(of), 5, of, (), (), None, None, None, None)
        for k, of in enumerate(ids)
    )
    session = RecordedSession("one", "one.json", "local/one", 64, 0, 0, ("m",), requests)
    turns = observe([session]).turns
    assert turns.kept_tokens.tolist() == [0, 0, 0, 128]
    assert turns.known_tokens.tolist() == [0, 0, 192, 128]
