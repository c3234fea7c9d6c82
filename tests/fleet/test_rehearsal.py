"""Agents' requests on a fleet in virtual time, against closed forms."""

from __future__ import annotations

import pytest

from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.context.tree import root
from swarm.fleet.rehearsal import Part, Played, rehearse

FLEET = FleetConfig(
    block_tokens=16,
    max_model_len=2_000,
    cost=SimpleCostConfig(
        prefill_tokens_per_s=1_000.0,
        prefill_per_context_token_s=1e-6,
        entry_s=0.5,
        entry_per_token_s=1e-3,
        decode_base_s=0.1,
    ),
)


def test_a_lone_agent_takes_what_the_rates_say() -> None:
    prompt = root("a").extend(100)
    parts = [Part(1.0, prompt, 3), Part(2.0, prompt.extend(20), 1)]
    first, second = rehearse(FLEET, [parts])
    assert first == Played(pytest.approx(0.5 + 0.1 + 0.1 + 1e-6 * 100 * 50), pytest.approx(0.1), 0, 100)
    # Six whole blocks of the first prompt are cached.
    new = 120 - 96
    expected_s = 0.5 + 0.12 + new / 1_000 + 1e-6 * new * (96 + new / 2)
    assert second == Played(pytest.approx(expected_s), None, 96, 120)


def test_agents_that_are_refused_go_on() -> None:
    long = [Part(0.0, root("b").extend(3_000), 1), Part(0.0, root("c").extend(10), 1)]
    assert [each.prompt_tokens for each in rehearse(FLEET, [long])] == [10]
