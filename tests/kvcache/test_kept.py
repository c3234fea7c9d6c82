"""What a request asks to have kept for longer than its memories' TTL, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FirstToken, FleetRequest
from swarm.fleet.fleet import Fleet

HBM = {"name": "hbm", "ttl_s": 300}
DRAM = {"name": "dram", "capacity_gib": 1, "ttl_s": 600}


def fleet(*tiers: dict[str, Any]) -> Fleet:
    cost = {
        "kind": "simple",
        "prefill_tokens_per_s": 1e6,
        "decode_base_s": 1e-3,
        "kv_capacity_tokens": 10_000,
    }
    return build_fleet(FleetConfig.model_validate({"cost": cost, "tiers": tiers}))


def cached_tokens(served: Fleet, number: int, prompt: Prompt, at_s: float, tokens: int, keep_s: float) -> int:
    """Return what a request finds that is sent at a time and asks to have its first tokens kept."""
    served.advance(at_s)
    served.submit(FleetRequest(number, "s", "", prompt, 1, True, tokens, keep_s), at_s)
    found = 0
    while (due_s := served.next_event_s()) is not None and due_s < at_s + 1:
        found += sum(
            event.cache.cached_tokens for event in served.advance(due_s) if isinstance(event, FirstToken)
        )
    served.audit()
    return found


@pytest.mark.parametrize("tiers", [(HBM,), (HBM, DRAM)], ids=["one tier", "two tiers"])
@pytest.mark.parametrize(
    ("keep_s", "tokens", "after_s", "expected"),
    [
        (0.0, 0, 299.0, 992),
        (0.0, 0, 601.0, 0),
        (300.0, 640, 601.0, 0),
        (3600.0, 640, 601.0, 640),
        (3600.0, 640, 3599.0, 640),
        (3600.0, 640, 3601.0, 0),
    ],
)
def test_a_front_outlives_the_ttl_by_what_is_asked_and_the_rest_does_not(
    tiers: tuple[dict[str, Any], ...], keep_s: float, tokens: int, after_s: float, expected: int
) -> None:
    served, prompt = fleet(*tiers), root("a").extend(1000)
    assert cached_tokens(served, 1, prompt, 0.0, tokens, keep_s) == 0
    assert cached_tokens(served, 2, prompt, after_s, 0, 0.0) == expected


def test_what_is_kept_does_not_keep_others_from_expiring() -> None:
    served = fleet(HBM)
    kept, other = root("kept").extend(1000), root("other").extend(1000)
    cached_tokens(served, 1, kept, 0.0, 1000, 3600.0)
    cached_tokens(served, 2, other, 10.0, 0, 0.0)
    cached_tokens(served, 3, root("third").extend(16), 500.0, 0, 0.0)
    # The 62 whole blocks that are kept, and the third's one.
    assert sum(tier.runs.held for tier in served.ranks[0].hierarchy.tiers) == 62 + 1


def test_what_is_kept_is_leased_no_longer_than_others() -> None:
    dram = {"name": "dram", "capacity_blocks": 80, "ttl_s": 600, "eviction": "watermark"}
    served = fleet(HBM, dram)
    kept, other = root("kept").extend(1000), root("other").extend(1000)
    for number, at_s in enumerate((0.0, 10.0)):
        cached_tokens(served, number, kept, at_s, 1000, 3600.0)
    # The second one found the blocks there: a lease of 5 s. It has ended when the other's 62 are written.
    cached_tokens(served, 2, other, 20.0, 0, 0.0)
    held = served.ranks[0].hierarchy.tiers[1].runs.by_node[other.node]
    assert [(start, end) for start, end, _ in held] == [(0, 62)]
