"""A capacity in any unit holds the same blocks."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError
from swarm.fleet.build import build_fleet

KV_BYTES = 4096
BLOCK_BYTES = 16 * KV_BYTES


def blocks_of(*tiers: dict[str, Any], **replicas: Any) -> list[float | None]:
    """Return the blocks that each tier of the first rank holds, with 32,000 tokens of HBM by the cost."""
    config = {
        "cost": {"kind": "simple", "kv_bytes_per_token": KV_BYTES, "kv_capacity_tokens": 32_000},
        "replicas": [replicas],
        "tiers": [{"name": "hbm"}, *tiers],
    }
    if tiers and tiers[0]["name"] == "hbm":
        config["tiers"] = list(tiers)
    rank = build_fleet(FleetConfig.model_validate(config)).ranks[0]
    return [tier.capacity_blocks for tier in rank.hierarchy.tiers]


@pytest.mark.parametrize(
    "stated",
    [
        {"capacity_gib": 4000 * BLOCK_BYTES / 2**30},
        {"capacity_gb": 4000 * BLOCK_BYTES / 1e9},
        {"capacity_tokens": 4000 * 16 + 15},
        {"capacity_blocks": 4000},
        {"capacity_of_hbm": 2.0},
    ],
    ids=lambda stated: next(iter(stated)),
)
def test_a_tier_holds_the_same_in_any_unit(stated: dict[str, float]) -> None:
    assert blocks_of({"name": "dram"} | stated) == [2000, 4000]


def test_hbm_is_a_replicas_and_shared_by_its_ranks() -> None:
    for stated in ({"capacity_tokens": 64_000}, {"capacity_blocks": 4000}):
        assert blocks_of({"name": "hbm"} | stated, parallelism={"dp": 4}) == [1000]


@pytest.mark.parametrize(("scope", "times"), [("replica", 1), ("node", 2), ("cluster", 6)])
def test_a_share_of_hbm_counts_all_that_share_the_tier(scope: str, times: int) -> None:
    tier = {"name": "dram", "scope": scope, "capacity_of_hbm": 0.5}
    assert blocks_of(tier, count=6, per_node=2, parallelism={"dp": 2}) == [1000, 1000 * times]


def test_a_tier_of_a_rank_is_a_share_of_its_own_hbm() -> None:
    tier = {"name": "dram", "scope": "rank", "capacity_of_hbm": 0.5}
    assert blocks_of(tier, count=2, parallelism={"dp": 2}) == [1000, 500]


@pytest.mark.parametrize("stated", [{"capacity_tokens": 64_000}, {"capacity_of_hbm": 2.0}])
def test_a_policy_needs_a_capacity_in_any_unit(stated: dict[str, float]) -> None:
    tier = {"name": "dram", "eviction": "fifo", "pinned": {"tokens": 64, "share": 0.5}}
    assert blocks_of(tier | stated) == [2000, 4000]


def test_a_share_of_hbm_needs_alike_instances() -> None:
    tier = {"name": "dram", "scope": "node", "capacity_of_hbm": 0.5}
    with pytest.raises(ConfigError, match="state capacity_gib"):
        blocks_of(tier, count=3, per_node=2)


def test_one_unit_is_stated() -> None:
    with pytest.raises(ValueError, match="capacity_gib and capacity_tokens are stated"):
        blocks_of({"name": "dram", "capacity_gib": 1, "capacity_tokens": 1})
    with pytest.raises(ValueError, match="a tier below hbm is expected"):
        blocks_of({"name": "hbm", "capacity_of_hbm": 1})


@pytest.mark.parametrize(("share", "blocks"), [(0.29, 29), (0.57, 57), (2.3, 230), (0.999, 99)])
def test_a_share_of_hbm_loses_no_block_to_rounding(share: float, blocks: int) -> None:
    hbm = {"name": "hbm", "capacity_blocks": 100}
    assert blocks_of(hbm, {"name": "dram", "capacity_of_hbm": share}) == [100, blocks]


@pytest.mark.parametrize(
    "stated", [{"capacity_tokens": 15}, {"capacity_gib": 1e-9}, {"capacity_of_hbm": 1e-9}]
)
def test_a_tier_that_holds_no_block_is_refused(stated: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="dram: its capacity holds no block of 65536 bytes"):
        blocks_of({"name": "dram", "eviction": "watermark"} | stated)
