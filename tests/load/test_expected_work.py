"""What sessions will ask of their client, against what their configuration says in closed form."""

from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.load.expected_work import NO_WORK, REQUESTS_MAX, ExpectedWork, expected_work
from swarm.workload.scripted import SECONDS_PER_TOKEN
from swarm.workload.source import Material, NoSessions, open_source


def work_of(slots: int = 100, **workload: Any) -> ExpectedWork:
    config = Experiment.model_validate({"name": "x", "workload": workload})
    return expected_work(open_source(config.workload, 1, Material()), slots)


@pytest.mark.parametrize(
    ("turns", "think_s", "output", "rate"),
    [
        (1, 2.0, 1, 1 / (2.0 + SECONDS_PER_TOKEN)),
        (10, 2.0, 100, 1 / (2.0 + 100 * SECONDS_PER_TOKEN)),
        # One that is cut off ends with an answer, and not with the think time after it.
        (1_000, 1.0, 1, REQUESTS_MAX / (REQUESTS_MAX * (1.0 + SECONDS_PER_TOKEN))),
    ],
)
def test_a_prompt_sets_rate_is_that_of_its_think_time(
    turns: int, think_s: float, output: int, rate: float
) -> None:
    think = {"median": think_s, "sigma": 0.0}
    found = work_of(kind="prompt_set", prompt_tokens=32_000, output_tokens=output, turns=turns, think_s=think)
    assert found == ExpectedWork(pytest.approx(rate), 32_000, output, 1.0)


def test_sub_agents_are_part_of_a_sessions_work() -> None:
    alone = work_of(kind="synthetic", subagents={"chance_per_turn": 0.0})
    helped = work_of(kind="synthetic", subagents={"chance_per_turn": 1.0, "overlap_share": 1.0})
    assert alone.agents == 1.0 < helped.agents
    assert helped.requests_per_s > alone.requests_per_s


def test_without_sessions_there_is_no_work() -> None:
    assert expected_work(NoSessions(), 10) == NO_WORK
