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


def fleet_of(**changes: float) -> FleetConfig:
    return FLEET.model_copy(update={"cost": SimpleCostConfig(decode_base_s=0.1, **changes)})


def test_those_who_decode_wait_for_what_a_chunk_adds_to_its_step() -> None:
    """The second prompt is 1,500 tokens, 500 to a chunk less the one that decodes: 499, 499, 499 and 3."""
    fleet = fleet_of(prefill_tokens_per_s=1e6, prefill_chunk_s=1.0, prefill_chunk_per_token_s=1e-3)
    group = fleet.replicas[0].model_copy(update={"max_batched_tokens": 500})
    agents = [[Part(0.0, root("a").extend(16), 201)], [Part(5.0, root("b").extend(1_500), 1)]]
    played = rehearse(fleet.model_copy(update={"replicas": (group,)}), agents)
    decoding = max(played, key=lambda each: each.tpot_s or 0.0)
    added_s = 4 * 1.0 + 1e-3 * (499 + 998 + 1_497 + 1_500) + 1_500 / 1e6
    assert decoding.tpot_s == pytest.approx((200 * 0.1 + added_s) / 200)


def test_a_step_of_prompts_alone_takes_what_decoding_takes_where_somebody_does() -> None:
    """Alone: 0.1 s in each of three steps, and prefill. Beside: half a step's wait, and a step for both."""
    fleet = fleet_of(prefill_tokens_per_s=1e4, prefill_alone_s=0.1)
    group = fleet.replicas[0].model_copy(update={"max_batched_tokens": 500})
    fleet = fleet.model_copy(update={"replicas": (group,)})
    [alone] = rehearse(fleet, [[Part(0.0, root("a").extend(1_500), 1)]])
    assert alone.ttft_s == pytest.approx(3 * 0.1 + 0.15)
    reply = Part(0.0, root("b").extend(100), 101)
    played = rehearse(fleet, [[reply], [Part(0.11 + 10.5 * 0.1, root("c").extend(400), 1)]])
    beside = next(each for each in played if each.tpot_s is None)
    assert beside.ttft_s == pytest.approx(0.05 + 0.1 + 0.04)


@pytest.mark.parametrize("alone", [0.0, 0.5, 1.0, 2.0])
def test_requests_wait_for_those_who_enter_before_them(alone: float) -> None:
    fleet = fleet_of(prefill_tokens_per_s=1e6, entry_s=0.4, entry_per_token_s=1e-3, entry_alone=alone)
    agents = [[Part(0.0, root(name).extend(100), 1)] for name in "abc"]
    entry_s = 0.4 + 0.1
    expected = [entry_s * (1 + alone * before) for before in range(3)]
    assert [each.ttft_s for each in rehearse(fleet, agents)] == pytest.approx(expected, abs=1e-3)
