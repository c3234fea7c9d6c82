"""Small fleets with answers in closed form: routing, plans of replicas, what is refused."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Prompt, root
from swarm.errors import ConfigError
from swarm.fleet.build import build_fleet
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest, Refused

COST = {
    "kind": "simple",
    "prefill_tokens_per_s": 1000.0,
    "decode_base_s": 0.01,
    "kv_bytes_per_token": 1024.0,
    "kv_capacity_tokens": 100_000,
}


def config(*groups: dict[str, Any], **changes: Any) -> FleetConfig:
    return FleetConfig.model_validate({"cost": COST, "replicas": list(groups) or [{}], **changes})


def run(config: FleetConfig, asked: list[tuple[float, str, Prompt, int]]) -> list[Event]:
    """Submit (time, session, prompt, output tokens) in order and return every event."""
    fleet = build_fleet(config)
    events: list[Event] = []
    for number, (at_s, session, prompt, output) in enumerate(asked):
        events += fleet.advance(at_s)
        fleet.submit(FleetRequest(number, session, session, prompt, output, True), at_s)
    while (due_s := fleet.next_event_s()) is not None:
        events += fleet.advance(due_s)
        fleet.audit()
    return events


@lru_cache
def root_of(number: int) -> Prompt:
    return root(f"r{number}")


def first_tokens(events: list[Event]) -> dict[int, FirstToken]:
    return {event.request_id: event for event in events if isinstance(event, FirstToken)}


@pytest.mark.parametrize(
    ("router", "replicas"),
    [
        ("round_robin", [0, 1, 0, 1]),
        ("least_loaded", [0, 1, 0, 1]),
        ("prefix_aware", [0, 1, 0, 1]),
    ],
)
def test_routers_spread_equal_requests(router: str, replicas: list[int]) -> None:
    asked = [(0.0, f"s{k}", root(f"r{k}").extend(100), 5) for k in range(4)]
    found = first_tokens(run(config({"count": 2}, router=router), asked))
    assert [found[k].replica for k in range(4)] == replicas


def test_an_affine_router_keeps_a_session_and_a_prefix_aware_one_a_prefix() -> None:
    prompt = root("r").extend(500)
    asked = [(10.0 * k, "s", prompt.extend(20 * k), 5) for k in range(4)]
    for router in ("session_affine", "prefix_aware"):
        found = first_tokens(run(config({"count": 3}, router=router), asked))
        assert len({one.replica for one in found.values()}) == 1
        assert [one.cache.cached_tokens for one in found.values()] == [0, 496, 512, 544]


def test_prefix_aware_leaves_the_prefix_when_its_rank_is_too_busy() -> None:
    prompt = root("r").extend(500)
    busy = [(5.0, f"b{k}", root(f"b{k}").extend(4000), 5) for k in range(2)]
    asked = [(0.0, "s", prompt, 1), *busy, (5.0, "s", prompt.extend(1), 1)]
    found = first_tokens(run(config({"count": 3, "max_sequences": 4}, router="prefix_aware"), asked))
    held = found[0].replica
    assert (found[3].replica == held) == (held not in {found[1].replica, found[2].replica})


def test_kv_crosses_the_link_between_prefill_and_decode_once() -> None:
    fleet = config(
        {"role": "prefill"}, {"role": "decode"}, kv_link_gib_per_s=1024.0 / 2**20, kv_link_latency_s=0.5
    )
    events = run(fleet, [(0.0, "s", root("r").extend(1000), 3)])
    # 1000 tokens of 1 KiB at 1 MiB a second, then two more tokens of 10 ms.
    moved_s = 1000 / 1024 + 0.5
    assert [event.at_s for event in events] == pytest.approx([1.0, 1.0 + moved_s + 0.02])


def test_what_arrives_together_decodes_together() -> None:
    fleet = config(
        {"role": "prefill", "count": 2}, {"role": "decode"}, kv_link_gib_per_s=1.0, kv_link_latency_s=0.5
    )
    asked = [(0.0, f"s{k}", root(f"r{k}").extend(1000), 3) for k in range(2)]
    ends = [event.at_s for event in run(fleet, asked) if isinstance(event, Finished)]
    assert ends[0] == ends[1]


def test_blocks_on_their_way_to_a_tier_are_not_written_again() -> None:
    # HBM holds one prompt; two take turns. Each takes 4 s to write, and both are held from 8 s on.
    slow = {"name": "dram", "write_gib_per_s": 1024.0 * 250 / 2**30, "write_policy": "block"}
    tiers = [{"name": "hbm", "capacity_gib": 1040 * 1024 / 2**30}, {**slow, "write_queue_gib": 1.0}]
    fleet = build_fleet(config(tiers=tiers, recompute_when_faster=False))
    for number in range(12):
        prompt = root_of(number % 2).extend(1000)
        fleet.submit(FleetRequest(number, "s", "s", prompt, 1, True), 2.0 * number)
        events = [event for event in fleet.advance(2.0 * number + 1.999) if isinstance(event, FirstToken)]
        fleet.audit()
        assert (events[0].cache.cached_tokens == 992) == (number > 3)
    dram = fleet.ranks[0].hierarchy.tiers[1].counters
    assert (dram.offered_blocks, dram.landed_blocks, dram.dropped_blocks) == (124, 124, 0)


def test_blocks_move_on_when_they_outlive_a_ttl_though_nobody_asks() -> None:
    tiers = [{"name": "hbm", "ttl_s": 1.0}, {"name": "dram", "ttl_s": 10.0, "inclusive": False}]
    prompt = root("r").extend(1000)
    asked = [(6.0 * k, "s", prompt, 1) for k in range(4)]
    found = first_tokens(run(config(tiers=tiers, recompute_when_faster=False), asked))
    assert [one.cache.cached_tokens for one in found.values()] == [0, 992, 992, 992]


def test_prefill_replicas_alone_give_one_token() -> None:
    asked = [(0.0, "s", root("r").extend(100), 1), (0.0, "s", root("q").extend(100), 2)]
    refused, first, finished = run(config({"role": "prefill", "count": 2}), asked)
    assert isinstance(refused, Refused) and refused.request_id == 1 and refused.retry_after_s is None
    assert isinstance(first, FirstToken) and first.at_s == pytest.approx(0.1)
    assert isinstance(finished, Finished) and finished.output_tokens == 1


def test_decode_replicas_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="decode instances need prefill ones"):
        build_fleet(config({"role": "decode"}))


def test_data_parallel_ranks_have_a_scheduler_and_a_share_of_the_pool_each() -> None:
    fleet = build_fleet(config({"parallelism": {"dp": 4}}))
    assert len(fleet.ranks) == 4
    assert {rank.hierarchy.tiers[0].spec.capacity_blocks for rank in fleet.ranks} == {100_000 // 4 // 16}


def test_a_long_prompt_is_computed_in_chunks_that_let_others_decode() -> None:
    asked = [(0.0, "a", root("a").extend(100), 50), (0.105, "b", root("b").extend(1000), 1)]
    events = run(config({"max_batched_tokens": 101}), asked)
    found = {event.request_id: event for event in events if isinstance(event, Finished)}
    # Ten steps of 100 tokens and one decoding sequence: 0.11 s each.
    assert found[0].itl_max_s == pytest.approx(0.11)
    assert found[1].at_s == pytest.approx(0.11 + 10 * 0.11)


def test_what_no_pool_can_hold_is_refused_for_good() -> None:
    (event,) = run(config(), [(0.0, "s", root("r").extend(100_000), 2)])
    assert isinstance(event, Refused) and event.retry_after_s is None


@pytest.mark.parametrize(("is_free_to", "cached"), [(True, 0), (False, 992)])
def test_a_load_that_takes_longer_than_computing_is_computed(is_free_to: bool, cached: int) -> None:
    slow = {"name": "dram", "read_gib_per_s": 1024.0 / 2**20 / 4}
    fleet = config(
        {},
        tiers=[{"name": "hbm", "ttl_s": 1.0}, slow],
        recompute_when_faster=is_free_to,
    )
    prompt = root("r").extend(1000)
    found = first_tokens(run(fleet, [(0.0, "s", prompt, 1), (50.0, "s", prompt.extend(1), 1)]))
    # Loading takes 4 s for each 1024 tokens, computing 1 s.
    assert found[1].cache.cached_tokens == cached
    seconds = 1.001 if is_free_to else 992 / 256 + 0.009
    assert found[1].at_s - 50.0 == pytest.approx(seconds)
