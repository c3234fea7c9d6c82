"""A run of steps in closed form, against a loop over them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.fleet.block_need import BlockNeed
from swarm.fleet.phase import DecodePhase, Peaks

PHASE = DecodePhase(anchor_s=10.0, first_s=1.0, more_s=0.5, steps=4)
"""Ends of steps: 11, 12.5, 14.5, 17."""


@pytest.mark.parametrize(
    ("time_s", "until", "done", "begun"),
    [
        (9.0, 0, 0, 1),
        (10.0, 0, 0, 1),
        (10.5, 1, 0, 1),
        (11.0, 1, 1, 2),
        (12.0, 2, 1, 2),
        (14.5, 3, 3, 4),
        (17.0, 4, 4, 4),
    ],
)
def test_steps_are_counted_from_the_anchor(time_s: float, until: int, done: int, begun: int) -> None:
    assert (PHASE.steps_until(time_s), PHASE.steps_done(time_s), PHASE.steps_begun(time_s)) == (
        until,
        done,
        begun,
    )


@given(
    first_s=st.floats(1e-4, 1.0),
    more_s=st.floats(0.0, 1e-3),
    step=st.integers(0, 100_000),
    anchor_s=st.floats(0.0, 1e6),
)
def test_the_step_that_ends_at_a_time_is_found_again(
    first_s: float, more_s: float, step: int, anchor_s: float
) -> None:
    phase = DecodePhase(anchor_s=anchor_s, first_s=first_s, more_s=more_s, steps=200_000)
    at_s = phase.at_s(step)
    assert phase.at_s(phase.steps_until(at_s)) == at_s
    assert phase.at_s(phase.steps_done(at_s)) == at_s


def test_a_step_lasts_from_the_end_of_the_one_before_to_its_own() -> None:
    gaps = [PHASE.at_s(k) - PHASE.at_s(k - 1) for k in range(1, 5)]
    assert gaps == pytest.approx([PHASE.duration_s(k) for k in range(1, 5)])


@given(gaps=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), max_size=30), asked=st.sets(st.integers(0, 30)))
def test_the_longest_gap_since_a_step_is_kept_through_thinning(gaps: list[float], asked: set[int]) -> None:
    peaks = Peaks()
    for step, gap_s in enumerate(gaps, start=1):
        peaks.push(step, gap_s)
    peaks.thin(asked)
    for step in asked:
        assert peaks.since(step) == max(gaps[step:], default=0.0)


@given(
    block=st.integers(1, 20),
    lengths=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 50)), min_size=1, max_size=8),
    later=st.integers(0, 100),
    limit=st.integers(0, 60),
)
def test_room_is_the_sum_over_sequences_that_grow(
    block: int, lengths: list[tuple[int, int]], later: int, limit: int
) -> None:
    need = BlockNeed(block)
    for tokens, step in lengths:
        need.add(tokens, step)
    need.add(33, 5)
    need.remove(40, 12)

    def blocks(at: int) -> int:
        return sum(math.ceil((tokens + at - step) / block) for tokens, step in lengths)

    assert need.blocks(50 + later) == blocks(50 + later)
    within = need.steps_within(50, limit, 40)
    if within < 40:
        assert blocks(50 + within + 1) > limit
    assert within == 0 or blocks(50 + within) <= limit
