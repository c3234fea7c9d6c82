"""What tiers may state, what they refuse, and what each policy does to a few requests."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, get_args

import pytest

from swarm.config import fleet as config
from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt, root
from swarm.errors import ConfigError
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FirstToken, FleetRequest
from swarm.fleet.fleet import Fleet
from swarm.fleet.memories import tier_configs
from swarm.fleet.tier_rules import in_words
from swarm.kvcache import policy
from swarm.kvcache.evictions import EVICTIONS

BLOCK = 16
BYTES = 1024.0
"""Of a token's KV."""


def gib(blocks: int) -> float:
    return blocks * BLOCK * BYTES / 2**30


def fleet_config(*tiers: dict[str, Any], pool: int = 64, dp: int = 1, **changes: Any) -> FleetConfig:
    cost = {
        "kind": "simple",
        "prefill_tokens_per_s": 1e6,
        "kv_bytes_per_token": BYTES,
        "kv_capacity_tokens": pool * BLOCK,
    }
    return FleetConfig.model_validate(
        {
            "block_tokens": BLOCK,
            "cost": cost,
            "replicas": [{"parallelism": {"dp": dp}}],
            "tiers": [{"name": "hbm"}, *tiers] if all(t["name"] != "hbm" for t in tiers) else tiers,
            "router": "session_affine",
            "recompute_when_faster": False,
            **changes,
        }
    )


class Asked:
    """A fleet that is asked one request after the other."""

    def __init__(self, config: FleetConfig) -> None:
        self.fleet: Fleet = build_fleet(config)
        self.number = 0

    def forget_hbm(self) -> None:
        hierarchy = self.fleet.ranks[0].hierarchy
        hierarchy.tiers[0].clear()
        hierarchy.cleared()

    def hits(self, prompt: Prompt, at_s: float, session: str = "s") -> tuple[int, int]:
        """Return the blocks of a prompt that HBM and DRAM serve."""
        self.fleet.advance(at_s)
        self.number += 1
        self.fleet.submit(FleetRequest(self.number, session, session, prompt, 1, True), at_s)
        served = (0, 0)
        while (due_s := self.fleet.next_event_s()) is not None and due_s < at_s + 0.5:
            for event in self.fleet.advance(due_s):
                if isinstance(event, FirstToken):
                    served = event.cache.by_tier[0] // BLOCK, event.cache.by_tier[1] // BLOCK
            self.fleet.audit()
        return served


@lru_cache
def root_of(name: str) -> Prompt:
    return root(name)


def prompt(name: str, blocks: int) -> Prompt:
    return root_of(name).extend(blocks * BLOCK + 1)


def test_names_of_policies_are_the_same_in_config_and_caches() -> None:
    assert get_args(config.EvictionName) == get_args(policy.EvictionName) == tuple(EVICTIONS)
    assert get_args(config.WriteMode) == get_args(policy.WriteMode)


@pytest.mark.parametrize(
    ("tier", "words"),
    [
        ({"name": "hbm", "eviction": "fifo"}, "set it to 'lru'"),
        ({"name": "hbm", "write": "write_back"}, "write is of the tiers below"),
        ({"name": "hbm", "scope": "cluster"}, "HBM is its replica's"),
        ({"name": "hbm", "connector": "lmcache"}, "they are of the tiers below"),
        ({"name": "hbm", "transfers": {"load": "block"}}, "they are of the tiers below"),
        ({"name": "dram", "eviction": "fifo"}, "without a capacity"),
        ({"name": "dram", "pinned": {"tokens": 100}}, "without a capacity"),
        ({"name": "dram", "capacity_gib": 1, "pinned": {"tokens": 15}}, "no whole block of 16"),
        ({"name": "dram", "capacity_gib": gib(9), "pinned": {"tokens": 16}}, "is no whole block"),
        ({"name": "dram", "capacity_gib": 1, "watermark": {}}, "set eviction to 'watermark'"),
        ({"name": "dram", "write": "write_through", "inclusive": False}, "set write to 'write_back'"),
        ({"name": "dram", "write_threshold": 3}, "write_through_selective"),
        (
            {"name": "dram", "transfers": {"streams": 4, "object_tokens": 256}},
            "no object takes a time",
        ),
        (
            {"name": "dram", "capacity_gib": 1, "eviction": "watermark", "watermark": {"soft_pin_tokens": 3}},
            "no whole block of 16",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_words(tier: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_fleet(fleet_config(tier))


def test_a_tier_says_what_it_does() -> None:
    tiers = tier_configs(
        fleet_config(
            {
                "name": "dram",
                "capacity_gib": 1,
                "scope": "rank",
                "eviction": "watermark",
                "pinned": {"tokens": 4096, "share": 0.25},
                "write": "write_through_selective",
            }
        )
    )
    assert in_words(tiers[1]) == (
        "dram: watermark (over 95% of the capacity 5% leave, leases of 5 s), first 4,096 tokens pinned, "
        "up to 25% of it, write_through_selective from use 2 on, one a rank"
    )


def test_a_block_that_lost_its_parent_is_held_and_does_not_hit() -> None:
    # Twelve blocks in a tier of ten: FIFO lets go of the first two, LRU of the last two.
    for eviction, expected in (("fifo", (0, 0)), ("lru", (0, 10))):
        dram = {"name": "dram", "capacity_gib": gib(10), "eviction": eviction}
        asked = Asked(fleet_config(dram, pool=16))
        asked.hits(prompt("a", 12), 0.0)
        asked.forget_hbm()
        held = asked.fleet.ranks[0].hierarchy.tiers[1].runs.held
        assert (held, asked.hits(prompt("a", 12), 1.0)) == (10, expected)


def test_a_read_block_is_leased_and_a_batch_takes_others() -> None:
    dram = {
        "name": "dram",
        "capacity_gib": gib(20),
        "eviction": "watermark",
        "watermark": {"eviction_high_watermark_ratio": 0.9, "eviction_ratio": 0.3},
    }
    asked = Asked(fleet_config(dram, pool=12))
    tier = asked.fleet.ranks[0].hierarchy.tiers[1]
    for name, at_s in (("a", 0.0), ("b", 1.0)):
        asked.hits(prompt(name, 8), at_s)
    asked.forget_hbm()
    assert asked.hits(prompt("a", 8), 7.0) == (0, 8)
    # 16 + 3 blocks are 0.05 more than 0.9 of 20: 0.05 + 0.3 of 19 leave, which is seven of `b`.
    asked.hits(prompt("c", 8), 8.0)
    held = {node.name: sum(end - start for start, end, _ in runs) for node, runs in tier.runs.by_node.items()}
    assert held == {"a": 8, "b": 1, "c": 8}


def test_a_selective_tier_is_written_what_was_used_twice() -> None:
    dram = {"name": "dram", "capacity_gib": 1, "write": "write_through_selective"}
    asked = Asked(fleet_config(dram, pool=40))
    tier = asked.fleet.ranks[0].hierarchy.tiers[1]
    asked.hits(prompt("a", 8), 0.0)
    assert tier.runs.held == 0
    asked.hits(prompt("a", 8).branch("b").extend(4 * BLOCK), 1.0)
    assert tier.runs.held == 8


def test_pinned_beginnings_stay_in_hbm_up_to_their_share() -> None:
    hbm = {"name": "hbm", "pinned": {"tokens": 4 * BLOCK, "share": 0.2}, "ttl_s": 10.0}
    asked = Asked(fleet_config(hbm, pool=30))
    for number in range(6):
        asked.hits(prompt(f"r{number}", 10), float(number))
    # Six blocks may stay: four of the first to come, two of the second.
    found = [asked.hits(prompt(f"r{number}", 4), 100.0 + number)[0] for number in range(3)]
    assert found == [4, 2, 0]


def test_what_pins_leave_is_the_most_that_a_request_may_need() -> None:
    hbm = {"name": "hbm", "pinned": {"tokens": BLOCK, "share": 0.5}}
    fleet = build_fleet(fleet_config(hbm, pool=30))
    assert fleet._limits.pool_tokens == 15 * BLOCK


@pytest.mark.parametrize(("scope", "expected"), [("replica", 8), ("rank", 0)])
def test_a_rank_does_not_see_what_lies_in_the_tier_of_another(scope: str, expected: int) -> None:
    dram = {"name": "dram", "capacity_gib": 1, "scope": scope}
    asked = Asked(fleet_config(dram, dp=2, router="round_robin"))
    asked.hits(prompt("a", 8), 0.0)
    assert asked.hits(prompt("a", 8), 1.0)[1] == expected
    assert asked.hits(prompt("a", 8), 2.0)[0] == 8
