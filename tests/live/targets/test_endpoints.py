"""Several endpoints of one target: who is asked, in what shares, and who is left aside."""

from collections import Counter
from typing import get_args

import pytest

from swarm.config.target import HealthConfig, RoutingName
from swarm.live.targets.endpoints import ROUTINGS, Endpoints, least_outstanding, round_robin, session_affine

URLS = ("http://a", "http://b", "http://c")


def endpoints(weights: tuple[float, ...] = (), failures_max: int = 2) -> Endpoints:
    return Endpoints(URLS, weights=weights, health=HealthConfig(failures_max=failures_max, aside_s=5.0))


def test_every_routing_of_the_configuration_is_there() -> None:
    assert set(ROUTINGS) == set(get_args(RoutingName))


@pytest.mark.parametrize(
    ("weights", "expected"), [((), "abcabc"), ((2.0, 1.0, 1.0), "abcaabca"), ((5.0, 1.0, 1.0), "aabacaa")]
)
def test_round_robin_spreads_evenly_by_weight(weights: tuple[float, ...], expected: str) -> None:
    several = endpoints(weights)
    assert "".join("abc"[round_robin(several, "s", 0.0, ())] for _ in expected) == expected


def test_sessions_keep_to_their_endpoint() -> None:
    several = endpoints()
    picks = [[session_affine(several, f"s{k}", 0.0, ()) for k in range(300)] for _ in range(2)]
    assert picks[0] == picks[1]


@pytest.mark.parametrize("weights", [(), (4.0, 1.0, 1.0)])
def test_sessions_are_shared_by_weight(weights: tuple[float, ...]) -> None:
    several = endpoints(weights)
    counts = Counter(session_affine(several, f"s{k}", 0.0, ()) for k in range(6000))
    total = sum(several.weights)
    for place, weight in enumerate(several.weights):
        # Four standard deviations of a binomial.
        share = weight / total
        assert abs(counts[place] - 6000 * share) < 4 * (6000 * share * (1 - share)) ** 0.5


def test_losing_an_endpoint_moves_its_own_sessions_alone() -> None:
    several = endpoints(failures_max=1)
    before = [session_affine(several, f"s{k}", 0.0, ()) for k in range(500)]
    several.begin(1)
    several.end(1, "refused", 0.0)
    after = [session_affine(several, f"s{k}", 1.0, ()) for k in range(500)]
    assert 1 not in after
    assert all(was == now for was, now in zip(before, after, strict=True) if was != 1)


def test_the_least_outstanding_endpoint_is_picked() -> None:
    several = endpoints((1.0, 1.0, 2.0))
    several.open = [3, 2, 4]
    assert least_outstanding(several, "s", 0.0, ()) == 2


def test_equals_take_turns() -> None:
    several = endpoints()
    assert sorted(least_outstanding(several, "s", 0.0, ()) for _ in range(3)) == [0, 1, 2]


@pytest.mark.parametrize(("now_s", "is_aside"), [(0.0, True), (4.9, True), (5.0, False)])
def test_an_endpoint_is_aside_after_failures_in_a_row(now_s: float, is_aside: bool) -> None:
    several = endpoints()
    for failure in ("refused", None, "refused", "timeout_connect"):
        several.begin(0)
        several.end(0, failure, 0.0)  # type: ignore[arg-type]
    assert (0 not in several.candidates(now_s, ())) is is_aside


def test_an_overloaded_endpoint_stays() -> None:
    several = endpoints(failures_max=1)
    several.begin(0)
    several.end(0, "http_5xx", 0.0)
    assert several.candidates(0.0, ()) == [0, 1, 2]


def test_where_none_is_healthy_all_are_asked() -> None:
    several = endpoints(failures_max=1)
    for place in range(3):
        several.begin(place)
        several.end(place, "refused", 0.0)
    assert several.candidates(1.0, ()) == [0, 1, 2]


def test_a_turn_avoids_the_endpoint_that_just_failed_it() -> None:
    assert endpoints().candidates(0.0, (1,)) == [0, 2]
