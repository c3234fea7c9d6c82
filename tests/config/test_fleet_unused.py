"""A key that another one leaves without effect is refused in words; written-out defaults are not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError
from swarm.fleet.build import build_fleet


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (
            {"router": "prefix_aware", "router_scores": {"prefix": 1}},
            r"router_scores asked with router 'prefix_aware'.*set router to 'scored'",
        ),
        ({"router": "sticky", "router_scores": {"queue": 1}}, "router_scores asked with router 'sticky'"),
        (
            {"router": "scored", "router_sticky": {"prefix_share": 0.5}},
            r"router_sticky asked with router 'scored'.*or leave router_sticky out",
        ),
        (
            {"router": "sticky", "router_reply_tokens": 5},
            "router_reply_tokens asked with router 'sticky'.*set router to 'prefix_aware'",
        ),
        (
            {"cost": {"kind": "roofline", "kv_capacity_tokens": 9000, "memory_fraction": 0.8}},
            "memory_fraction 0.8 asked with kv_capacity_tokens 9000",
        ),
        (
            {
                "cost": {"kind": "roofline", "kv_capacity_tokens": 9000},
                "tiers": [{"name": "hbm", "capacity_blocks": 90}],
            },
            "kv_capacity_tokens 9000 asked with a capacity of tier hbm",
        ),
        ({"provider": {"cached_weight": 0.5}}, "cached_weight 0.5 asked.*state a limit"),
        (
            {"provider": {"input_tokens_per_minute": 1, "allotment_window_s": 60}},
            "allotment_window_s 60 asked.*state allotment_tokens",
        ),
        ({"provider": {"allotment_tokens": 1, "cache_ttl_s": 300}}, "cache_ttl_s 300 asked.*state prices"),
    ],
)
def test_a_key_without_effect_is_refused(stated: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FleetConfig.model_validate(stated)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inclusive", False),
        ("read_gib_per_s", 10),
        ("write_gib_per_s", 10),
        ("read_latency_s", 0.1),
        ("write_latency_s", 0.1),
        ("write_policy", "block"),
        ("link_gib_per_s", 10),
        ("write_queue_gib", 1),
    ],
)
def test_what_moves_nothing_within_hbm_is_refused(key: str, value: object) -> None:
    config = FleetConfig.model_validate({"tiers": [{"name": "hbm", key: value}, {"name": "dram"}]})
    with pytest.raises(ConfigError, match=f"fleet.tiers hbm: {key} asked.*of the tiers below"):
        build_fleet(config)


@pytest.mark.parametrize(
    "stated",
    [
        {"router": "scored", "router_scores": {"prefix": 1}},
        {"router": "sticky", "router_sticky": {"prefix_share": 0.5}},
        {"cost": {"kind": "roofline", "memory_fraction": 0.8}},
        {"provider": {"allotment_tokens": 1, "cached_weight": 0.1, "allotment_window_s": 60}},
        {"provider": {"prices": {}, "cache_ttl_s": 300}},
    ],
)
def test_with_all_defaults_written_out_a_fleet_is_read_again(stated: dict[str, Any]) -> None:
    config = FleetConfig.model_validate(stated)
    assert FleetConfig.model_validate(config.model_dump()) == config
