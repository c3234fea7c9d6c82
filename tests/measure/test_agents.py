"""Live agents, beside a count at every instant."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.measure.agents import count_agents
from swarm.records.batch import AgentStep

LIVES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20), st.booleans()), max_size=12)


@settings(max_examples=150, deadline=None)
@given(lives=LIVES, from_s=st.integers(0, 10), length_s=st.integers(1, 30))
def test_peak_and_mean_are_those_of_the_agents_that_live_in_each_second(
    lives: list[tuple[int, int, bool]], from_s: int, length_s: int
) -> None:
    steps = []
    for number, (start, length, is_main) in enumerate(lives):
        for at_s, change in ((start, 1), (start + length, -1)):
            steps.append(AgentStep(at_s, change, is_main, f"a{number}", change < 0))
    counts = count_agents(steps, from_s=from_s, to_s=from_s + length_s)
    live = [
        sum(start <= second < start + length for start, length, _ in lives)
        for second in range(from_s, from_s + length_s)
    ]
    ever = [sum(start <= second < start + length for start, length, _ in lives) for second in range(42)]
    assert counts.live_mean == pytest.approx(sum(live) / length_s)
    assert counts.peak_live == max(ever)
    assert (counts.orchestrators, counts.subagents) == (
        sum(is_main for *_, is_main in lives),
        sum(not is_main for *_, is_main in lives),
    )
