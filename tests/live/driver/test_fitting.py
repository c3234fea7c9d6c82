"""What a server tells fills what an experiment leaves open, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.errors import RunError
from swarm.live.driver.fitting import looked_at, with_facts
from swarm.live.targets.facts import ServerFacts

FACTS = ServerFacts(dialect="vllm", context_tokens=8_192, block_tokens=64)


def experiment(**more: Any) -> Experiment:
    data = {"name": "one", "workload": {"kind": "synthetic"}, **more}
    return validate(Experiment, data, "test")


def test_the_emulated_fleet_is_not_asked() -> None:
    own = experiment()
    assert looked_at(own) == (own, None)


@pytest.mark.parametrize(
    ("stated", "block_tokens", "context_tokens"),
    [
        ({}, 64, 8_192),
        ({"block_tokens": 32, "target": {"context_tokens": 4_096}}, 32, 4_096),
    ],
)
def test_what_the_file_states_stays(stated: dict[str, Any], block_tokens: int, context_tokens: int) -> None:
    found = with_facts(experiment(**stated), FACTS)
    assert (found.ideal_block_tokens, found.target.context_tokens) == (block_tokens, context_tokens)


def test_what_nobody_tells_is_the_fleets() -> None:
    found = with_facts(experiment(), ServerFacts())
    assert (found.ideal_block_tokens, found.target.context_tokens) == (16, None)


def test_a_target_that_lists_no_model_is_told_at_the_first_door() -> None:
    nobody = experiment(target={"urls": ["http://127.0.0.1:9"]})
    with pytest.raises(
        RunError,
        match=r"the target cannot be used: GET http://127\.0\.0\.1:9/v1/models: .*nothing listens there",
    ):
        looked_at(nobody)
