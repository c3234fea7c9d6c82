"""Bandwidth shared max-min fair, against closed forms and a loop over small steps of time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.fleet.transfers.network import Lane, Network, Pipe


def arrivals(lanes: list[Lane], starts: list[tuple[float, int, float]]) -> dict[int, float]:
    """Return when each of the starts (time, lane, bytes), in order of time, has arrived."""
    network = Network(lanes)
    found: dict[int, float] = {}
    for number, (at_s, lane, size) in enumerate(starts):
        while network.next_s() <= at_s:
            network.run(network.next_s())

        def arrived(now_s: float, number: int = number) -> None:
            found[number] = now_s

        if not network.start(lanes[lane], size, at_s, arrived):
            found[number] = at_s
    while network.next_s() < math.inf:
        network.run(network.next_s())
    assert network.under_way == 0
    return found


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([(0, 0, 100)], [10.5]),
        ([(0, 0, 100), (0, 0, 100)], [20.5, 20.5]),
        ([(0, 0, 100), (5, 0, 100)], [15.5, 20.5]),
        ([(0, 0, 100), (0, 0, 20)], [12.5, 4.5]),
        ([(0, 0, 0)], [0.5]),
    ],
)
def test_transfers_share_a_pipe_alike(starts: list[tuple[float, int, float]], expected: list[float]) -> None:
    found = arrivals([Lane([Pipe("p", 10.0)], 0.5)], starts)
    assert [found[number] for number in range(len(starts))] == pytest.approx(expected)


def test_what_a_narrow_link_leaves_goes_to_the_others() -> None:
    tier = Pipe("tier", 10.0)
    narrow, wide = Lane([tier, Pipe("link", 2.0)], 0.0), Lane([tier], 0.0)
    found = arrivals([narrow, wide], [(0, 0, 20), (0, 1, 80)])
    assert found == pytest.approx({0: 10.0, 1: 10.0})


def test_an_estimate_is_what_a_lone_transfer_takes() -> None:
    lane = Lane([Pipe("a", 10.0), Pipe("b", 4.0)], 0.25)
    assert lane.estimate_s(8.0) == pytest.approx(2.25) == pytest.approx(arrivals([lane], [(0, 0, 8.0)])[0])


def fair_rates(crossed: list[list[int]], speeds: list[float]) -> list[float]:
    """Return max-min fair rates by raising all of them together, a little at a time."""
    rates = [0.0] * len(crossed)
    frozen = [False] * len(crossed)
    left = list(speeds)
    while not all(frozen):
        counts = [
            sum(pipe in crossed[k] and not frozen[k] for k in range(len(crossed)))
            for pipe in range(len(speeds))
        ]
        rise = min(left[pipe] / counts[pipe] for pipe in range(len(speeds)) if counts[pipe])
        for k, pipes in enumerate(crossed):
            if not frozen[k]:
                rates[k] += rise
                for pipe in pipes:
                    left[pipe] -= rise
        for k, pipes in enumerate(crossed):
            frozen[k] = frozen[k] or any(left[pipe] < 1e-9 * speeds[pipe] for pipe in pipes)
    return rates


@settings(max_examples=60, deadline=None)
@given(
    lanes=st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=4),
    speeds=st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=4, max_size=4),
    starts=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=7
    ),
)
def test_arrivals_equal_a_loop_that_shares_anew_at_every_change(
    lanes: list[set[int]], speeds: list[float], starts: list[tuple[int, int, int]]
) -> None:
    crossed = [sorted(pipes) for pipes in lanes]
    ordered = [(float(at), lane % len(lanes), float(size)) for at, lane, size in sorted(starts)]
    pipes = [Pipe(str(k), speed) for k, speed in enumerate(speeds)]
    found = arrivals([Lane([pipes[k] for k in of], 0.0) for of in crossed], ordered)

    now, active, waiting = 0.0, {}, list(enumerate(ordered))
    expected: dict[int, float] = {}
    while active or waiting:
        numbers = list(active)
        rates = fair_rates([crossed[ordered[k][1]] for k in numbers], speeds) if numbers else []
        ends = min((active[k] / rate for k, rate in zip(numbers, rates, strict=True)), default=math.inf)
        comes = waiting[0][1][0] - now if waiting else math.inf
        passed = min(ends, comes)
        for k, rate in zip(numbers, rates, strict=True):
            active[k] -= rate * passed
        now += passed
        for k in numbers:
            if active[k] < 1e-9:
                expected[k] = now
                del active[k]
        while waiting and waiting[0][1][0] <= now + 1e-12:
            number, (_, _, size) = waiting.pop(0)
            active[number] = size
    assert found == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(
    lanes=st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=4),
    speeds=st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=4, max_size=4),
    starts=st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=7
    ),
    counted=st.tuples(st.floats(0, 30), st.floats(0, 30)).map(sorted),
    asked_s=st.floats(0, 60),
)
def test_bytes_are_counted_as_they_flow(
    lanes: list[set[int]],
    speeds: list[float],
    starts: list[tuple[int, int, int]],
    counted: list[float],
    asked_s: float,
) -> None:
    crossed = [sorted(pipes) for pipes in lanes]
    ordered = [(float(at), lane % len(lanes), float(size)) for at, lane, size in sorted(starts)]
    pipes = [Pipe(str(k), speed) for k, speed in enumerate(speeds)]
    made = [Lane([pipes[k] for k in of], 0.0) for of in crossed]
    network = Network(made)
    from_s, until_s = counted
    network.count(from_s, until_s)
    for at_s, lane, size in ordered:
        if at_s > asked_s:
            break
        while network.next_s() <= at_s:
            network.run(network.next_s())
        network.start(made[lane], size, at_s, lambda now_s: None)
    while network.next_s() <= asked_s:
        network.run(network.next_s())
    found = network.counted_bytes(asked_s)
    assert network.counted_bytes(asked_s) == found

    # Step by step: what each transfer still has, and its rate until the next start, end or edge.
    expected = dict.fromkeys(found, 0.0)
    now, left = 0.0, dict[int, float]()
    while now < asked_s:
        left |= {k: size for k, (at_s, _, size) in enumerate(ordered) if at_s == now}
        numbers = [k for k, size in left.items() if size > 1e-9]
        rates = fair_rates([crossed[ordered[k][1]] for k in numbers], speeds) if numbers else []
        ends = [now + left[k] / rate for k, rate in zip(numbers, rates, strict=True)]
        edges = [at_s for at_s in (from_s, until_s, *(at_s for at_s, _, _ in ordered)) if at_s > now]
        then = min([*ends, *edges, asked_s])
        for k, rate in zip(numbers, rates, strict=True):
            left[k] -= rate * (then - now)
            if from_s <= now and then <= until_s:
                for pipe in crossed[ordered[k][1]]:
                    expected[str(pipe)] += rate * (then - now)
        now = then
    assert found == pytest.approx(expected, abs=1e-6)
    for pipe in network.pipes:
        assert found[pipe.name] <= pipe.bytes_per_s * (until_s - from_s) + 1e-6
