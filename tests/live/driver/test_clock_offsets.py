"""Clocks of hosts against the driver's, over a network that takes its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from swarm.live.driver.clock_offsets import ANSWER_S_MAX, QUESTIONS, ROUNDS, clock_offsets
from swarm.live.driver.launcher import Call, Outcome, Returned


class Network:
    """Carries questions to hosts of known clocks: so many seconds to them, and so many back."""

    def __init__(self, trips: Iterator[tuple[float, float] | None]) -> None:
        self.now_s = 5_000.0
        self.asked = 0
        self._trips = trips

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, calls: Sequence[Call], within_s: float) -> dict[Call, Outcome]:
        self.asked += 1
        trip = next(self._trips)
        if trip is None:
            self.now_s += within_s
            return {}
        there_s, back_s = trip
        self.now_s += there_s
        outcomes: dict[Call, Outcome] = {offset_s: Returned(self.now_s + offset_s) for offset_s in calls}  # type: ignore[operator]
        self.now_s += back_s
        return outcomes


class Host:
    """A host whose call is its clock's offset."""

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s

    def clock(self) -> Call:
        return self._offset_s


def offsets(network: Any, hosts: dict[int, Any]) -> dict[int, float]:
    return clock_offsets(hosts, network, network)


@pytest.mark.parametrize("quickest", range(ROUNDS))
def test_the_quickest_of_several_answers_counts(quickest: int) -> None:
    trips = [(3.0, 0.1)] * ROUNDS
    trips[quickest] = (0.02, 0.01)
    assert offsets(Network(iter(trips)), {4: Host(7.0)}) == {4: pytest.approx(7.0, abs=0.015)}


def test_a_host_that_never_answers_has_no_offset() -> None:
    network = Network(iter([None, (0.0, 0.0)] * ROUNDS))
    assert offsets(network, {0: Host(1.0), 1: Host(2.0)}) == {1: 2.0}
    assert network.now_s == 5_000.0 + ROUNDS * ANSWER_S_MAX


@pytest.mark.parametrize(("hosts", "asked"), [(1, ROUNDS), (60, 300), (200, 200), (1_000, 1_000)])
def test_of_many_hosts_each_is_asked_less_often(hosts: int, asked: int) -> None:
    network = Network(iter([(0.0, 0.0)] * (ROUNDS * QUESTIONS)))
    offsets(network, {number: Host(0.0) for number in range(hosts)})
    assert network.asked == asked
