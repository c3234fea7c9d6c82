"""Saved states of linear layers in a fleet: what is refused, where chunks end, and vLLM's own pool."""

from __future__ import annotations

import math
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt, root
from swarm.errors import ConfigError
from swarm.fleet.build import build_fleet
from swarm.fleet.catalog.read import find_model
from swarm.fleet.events import FirstToken, FleetRequest
from swarm.fleet.fleet import Fleet
from swarm.hit_names import LOST_TO
from swarm.kvcache.states import StateTier

BLOCK = 16


def config(**changes: Any) -> FleetConfig:
    """Return a fleet of one rank: 1,000 tokens a second, chunks of 80 tokens, a pool of 100 blocks."""
    return FleetConfig.model_validate(
        {
            "block_tokens": BLOCK,
            "cost": {
                "kind": "simple",
                "prefill_tokens_per_s": 1000,
                "kv_bytes_per_token": 1024,
                "kv_capacity_tokens": 100 * BLOCK,
            },
            "replicas": [{"max_batched_tokens": 90, "max_sequences": 8}],
            "tiers": [{"name": "hbm"}],
            "states": {"blocks": 3},
            "recompute_when_faster": False,
            **changes,
        }
    )


def first_token(fleet: Fleet, number: int, prompt: Prompt, at_s: float) -> FirstToken:
    fleet.advance(at_s)
    fleet.submit(FleetRequest(number, "s", "s", prompt, 1, False), at_s)
    found = None
    while (due_s := fleet.next_event_s()) is not None and math.isfinite(due_s):
        for event in fleet.advance(due_s):
            if isinstance(event, FirstToken):
                found = event
        fleet.audit()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("saved", "hits"),
    [("every_chunk", {200: 192, 190: 160, 170: 160, 100: 80, 80: 0}), ("prompt_end", {200: 192, 190: 0})],
)
def test_a_prompt_goes_on_where_a_chunk_of_an_earlier_one_ended(saved: str, hits: dict[int, int]) -> None:
    prompt = root("a").extend(200)
    for tokens, hit in hits.items():
        fleet = build_fleet(config(states={"blocks": 3, "saved": saved}))
        first_token(fleet, 1, prompt, 0.0)
        cut = Prompt(prompt.node, tokens)
        assert first_token(fleet, 2, cut, 10.0).cache.cached_tokens == hit, tokens


def test_the_last_block_of_a_prompt_ends_a_chunk_of_its_own() -> None:
    fleet = build_fleet(config())
    # 80 and 80 tokens, as 90 is no end of a block; 32 up to the last whole block, and the rest.
    assert first_token(fleet, 1, root("a").extend(200), 0.0).at_s == pytest.approx(0.2)
    assert first_token(fleet, 2, root("b").extend(95), 10.0).at_s == pytest.approx(10.095)


def test_states_take_room_that_kv_would_have() -> None:
    def held(states: dict[str, Any] | None) -> int:
        fleet = build_fleet(config(states=states))
        prompts = [root(f"r{number}").extend(15 * BLOCK + 1) for number in range(6)]
        for number, prompt in enumerate(prompts):
            first_token(fleet, number, prompt, 10.0 * number)
        return sum(
            first_token(fleet, 100 + number, prompt, 1000.0 + 10 * number).cache.cached_tokens > 0
            for number, prompt in enumerate(reversed(prompts))
        )

    # Six prompts of 15 blocks fill 90 of 100 blocks; with the states of its three chunks each takes 24.
    assert held(None) == 6
    assert held({"blocks": 3}) == 4


def test_what_a_lower_tier_holds_goes_on_from_its_states() -> None:
    tiers = [{"name": "hbm"}, {"name": "dram", "capacity_blocks": 1000}]
    fleet = build_fleet(config(tiers=tiers))
    prompt = root("a").extend(200)
    first_token(fleet, 1, prompt, 0.0)
    hierarchy = fleet.ranks[0].hierarchy
    hierarchy.tiers[0].clear()
    hierarchy.cleared()
    assert first_token(fleet, 2, prompt, 10.0).cache.by_tier[:2] == (0, 192)
    assert first_token(fleet, 3, prompt, 20.0).cache.by_tier[:2] == (192, 0)


def test_a_state_that_another_replica_holds_is_lost_to_routing_until_it_is_evicted() -> None:
    alike = {"count": 2, "max_batched_tokens": 90, "max_sequences": 8}
    fleet = build_fleet(config(replicas=[alike], router="round_robin"))
    prompt = root("a").extend(200)

    def lost(number: int) -> dict[str, int]:
        counts = first_token(fleet, number, prompt, 10.0 * number).cache.lost_to
        return {name: tokens for name, tokens in zip(LOST_TO, counts, strict=True) if tokens}

    assert lost(1) == {}
    assert lost(2) == {"routing": 192}
    assert lost(3) == {}
    for rank in fleet.ranks:
        states = rank.hierarchy.tiers[0]
        assert isinstance(states, StateTier)
        states.states.evict(states.states.held)
        rank.hierarchy.cleared()
    assert lost(4) == {"capacity": 192}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"replicas": [{"max_batched_tokens": 20, "max_sequences": 8}]}, "at least 24"),
        ({"replicas": [{"max_batched_tokens": 20, "max_sequences": 256}]}, "at least 272"),
        ({"tiers": [{"name": "hbm", "capacity_blocks": 6}]}, "no block of a rank's pool of 6"),
        ({"cost": {"kind": "roofline", "model": "Llama-3.3-70B"}}, "Llama-3.3-70B has no layers that keep"),
        ({"replicas": [{"role": "prefill"}, {"role": "decode"}]}, "role 'prefill'"),
        ({"tiers": [{"name": "hbm", "ttl_s": 5}]}, "ttl_s"),
        ({"tiers": [{"name": "hbm"}, {"name": "dram", "inclusive": False}]}, "written through"),
        ({"tiers": [{"name": "hbm"}, {"name": "dram"}], "recompute_when_faster": True}, "set it to false"),
    ],
)
def test_a_fleet_without_rules_for_states_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_fleet(config(**changes))


def test_vllms_pool_for_kimi_k3_is_2135_pages() -> None:
    """InferenceX's log says 3,249,215 tokens in 42.23 GiB of each of 8 B300 for contexts of 1,048,576 tokens.

    A page is as large as the state of a layer on one GPU (a matrix a head in 32 bits, and 3 columns of the
    convolutions of q, k and v in 16), rounded up to 128 tokens of KV. Layers come in groups of 24 at most.
    The tokens said are what as many whole contexts hold, each with two states a group
    (`mamba_cache_mode: align`).
    """
    full, linear = find_model("Kimi-K3").attention
    assert full.kind == "mla" and linear.kind == "linear"
    heads = linear.value_heads // 8
    state_bytes = heads * (linear.key_dim * linear.value_dim * 4 + 3 * linear.key_dim * 3 * 2)
    token_bytes = full.kv_rank + full.rope_dim
    block_tokens = math.ceil(state_bytes / token_bytes / 128) * 128
    groups = math.ceil(linear.layers / full.layers)
    assert (block_tokens, groups) == (1536, 3)
    page_bytes = block_tokens * token_bytes * full.layers
    pages = int(42.23 * 2**30 / page_bytes)
    a_context = math.ceil(full_context() / block_tokens) + 2 * groups
    assert pages == 2135
    assert int(pages / a_context * full_context()) == 3_249_215


def full_context() -> int:
    tokens = find_model("Kimi-K3").context_tokens
    assert tokens is not None
    return tokens
