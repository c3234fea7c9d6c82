"""What loads and stores cost, against closed forms: objects and streams, steps that wait, shared links."""

from __future__ import annotations

import math
from typing import Any

import pytest

from swarm.config.catalog import ConnectorEntry
from swarm.config.fleet import FleetConfig
from swarm.context.tree import root
from swarm.errors import ConfigError
from swarm.fleet.build import build_fleet
from swarm.fleet.catalog.read import connectors
from swarm.fleet.cost.base import Chunk, Cost
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest
from swarm.fleet.transfers.network import Lane, Network, Pipe
from swarm.fleet.transfers.objects import Objects
from tests.fleet.driven import Op, drive

GIB = 2**30
TOKENS = 1024
"""Of each prompt; its first 1,023 blocks of one token may hit."""
HIT = TOKENS - 1
TOKEN_BYTES = GIB / 1024
RATE = 1000.0
"""Prompt tokens computed in a second."""
DECODE_S = 0.125


def objects(size: float, cost_s: float, streams: float, stream_rate: float = math.inf) -> Objects:
    return Objects(object_bytes=size, object_s=cost_s, streams=streams, stream_bytes_per_s=stream_rate)


@pytest.mark.parametrize(
    ("made", "size", "link", "expected_s"),
    [
        # One stream: each object's cost, and all bytes, one after another.
        (objects(10, 0.5, 1), 40, 20, 4 * 0.5 + 40 / 20),
        # Four streams hide three of four costs behind the link, which is busy after the first.
        (objects(10, 0.5, 4), 160, 20, 0.5 + 160 / 20),
        # Streams that the link does not hold up: rounds of cost and bytes.
        (objects(10, 0.5, 4, 20.0), 160, math.inf, 4 * (0.5 + 10 / 20)),
        # Five objects on four streams take two rounds, the fifth alone.
        (objects(10, 0.5, 4, 20.0), 50, math.inf, 2 * (0.5 + 10 / 20)),
        # A part of an object costs as a whole one does.
        (objects(10, 0.5, 1), 41, 20, 5 * 0.5 + 41 / 20),
        (objects(math.inf, 0.5, math.inf), 41, 20, 0.5 + 41 / 20),
        (objects(math.inf, 0.5, 4, 10.0), 40, 20, 0.5 + 40 / 10),
    ],
)
def test_a_transfer_alone_takes_its_busiest_stream_or_the_link(
    made: Objects, size: float, link: float, expected_s: float
) -> None:
    within = made.within(link)
    assert within.alone_s(size) == pytest.approx(expected_s)
    fluid_s = size / min(within.bytes_per_s, link)
    assert fluid_s + within.more_s(size) == pytest.approx(expected_s)


def fleet(tier: dict[str, Any], **more: Any) -> FleetConfig:
    """Return ranks whose HBM holds one prompt and a reply, over an unlimited tier."""
    return FleetConfig.model_validate(
        {
            "block_tokens": 1,
            "cost": {
                "kind": "simple",
                "prefill_tokens_per_s": RATE,
                "decode_base_s": DECODE_S,
                "kv_bytes_per_token": TOKEN_BYTES,
                "kv_capacity_tokens": 2 * TOKENS,
                "layers": 4,
            },
            "replicas": [{"count": 1, "max_batched_tokens": 4096, **more.pop("group", {})}],
            "tiers": [{"name": "hbm"}, {"name": "dram", **tier}],
            "recompute_when_faster": False,
            "router": "session_affine",
            **more,
        }
    )


ROOTS = {name: root(name) for name in "abcdefghz"}


def ask(number: int, at_s: float, name: str, output: int = 1, tokens: int = TOKENS) -> Op:
    prompt = ROOTS[name].extend(tokens)
    return Op(at_s, FleetRequest(number, name, name, prompt, output, False), 0)


def ttft_s(events: list[Event], op: Op) -> float:
    assert op.request is not None
    number = op.request.request_id
    return next(e.at_s for e in events if isinstance(e, FirstToken) and e.request_id == number) - op.at_s


def evicted() -> list[Op]:
    """Return what leaves prompts a and b in the tier alone: c and d take their room."""
    return [ask(k, 100.0 * k, name) for k, name in enumerate("abcd")]


LOAD_S = HIT * TOKEN_BYTES / GIB
"""Of one prompt over 1 GiB/s."""
ONE_S = 1 / RATE


@pytest.mark.parametrize(
    ("transfers", "expected_s"),
    [
        ({}, LOAD_S + ONE_S),
        ({"object_tokens": 256, "object_s": 0.25, "streams": 1}, 4 * 0.25 + LOAD_S + ONE_S),
        ({"object_tokens": 256, "object_s": 0.25, "streams": 4}, 0.25 + LOAD_S + ONE_S),
        ({"object_tokens": 256, "object_s": 0.25}, 0.25 + LOAD_S + ONE_S),
        ({"stream_gib_per_s": 0.5, "object_tokens": 2048, "streams": 2}, 2 * LOAD_S + ONE_S),
        ({"load": "block"}, LOAD_S + ONE_S),
        # By layers of four: the last layer is computed after the last of the load.
        ({"load": "layers"}, LOAD_S + ONE_S / 4),
    ],
)
def test_a_prompt_in_a_lower_tier_takes_its_load(transfers: dict[str, Any], expected_s: float) -> None:
    config = fleet({"read_gib_per_s": 1.0, "transfers": transfers})
    last = ask(9, 1000.0, "a")
    _, events = drive(config, [*evicted(), last], False, [])
    assert ttft_s(events, last) == pytest.approx(expected_s)


@pytest.mark.parametrize("more", [256, 512, 900])
@pytest.mark.parametrize("read", [0.5, 1.0, 4.0])
def test_layers_overlap_as_a_pipeline_does(more: int, read: float) -> None:
    config = fleet({"read_gib_per_s": read, "transfers": {"load": "layers"}})
    last = ask(9, 1000.0, "a", tokens=TOKENS + more)
    _, events = drive(config, [*evicted(), last], False, [])
    load_s, compute_s = TOKENS * TOKEN_BYTES / GIB / read, more / RATE
    expected_s = max(load_s + compute_s / 4, load_s / 4 + compute_s)
    assert ttft_s(events, last) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("transfers", "gap_s"),
    [
        ({}, DECODE_S + ONE_S),
        ({"load": "block"}, LOAD_S + ONE_S + DECODE_S),
        ({"load": "layers"}, LOAD_S + (ONE_S + DECODE_S) / 4),
    ],
)
def test_a_load_keeps_those_waiting_that_decode_if_steps_wait_for_it(
    transfers: dict[str, Any], gap_s: float
) -> None:
    config = fleet({"read_gib_per_s": 1.0, "transfers": transfers})
    other = ask(8, 900.0, "z", output=400, tokens=64)
    # Sent at the end of a decode step of the other one.
    sent_s = 900.0 + 64 / RATE + 40 * DECODE_S
    _, events = drive(config, [*evicted(), other, ask(9, sent_s, "a")], False, [])
    found = next(e for e in events if isinstance(e, Finished) and e.request_id == 8)
    assert found.itl_max_s == pytest.approx(gap_s, abs=1e-6)


@pytest.mark.parametrize(
    ("tier", "links", "more_s"),
    [
        ({"transfers": {"store": "beside"}, "write_gib_per_s": 2.0}, {}, 0.0),
        ({"transfers": {"store": "block"}}, {}, 0.0),
        ({"transfers": {"store": "block"}, "write_gib_per_s": 2.0}, {}, 0.5),
        ({"transfers": {"store": "block"}, "write_gib_per_s": 2.0}, {"gpu_gib_per_s": 1.0}, 1.0),
        ({"transfers": {"store": "block", "stream_gib_per_s": 4.0}, "write_gib_per_s": 8.0}, {}, 0.25),
        # Four objects, each of half a second and a quarter of the bytes.
        (
            {"transfers": {"store": "block", "object_tokens": 256, "object_s": 0.5, "streams": 1}}
            | {"write_gib_per_s": 1.0},
            {},
            3.0,
        ),
    ],
)
def test_a_step_ends_when_what_it_computed_is_copied_where_stores_block(
    tier: dict[str, Any], links: dict[str, float], more_s: float
) -> None:
    config = fleet(tier, links=links, group={"max_batched_tokens": 300})
    first, again = ask(0, 0.0, "a"), ask(1, 500.0, "a")
    _, events = drive(config, [first, again], False, [])
    assert ttft_s(events, first) == pytest.approx(TOKENS / RATE + more_s)
    # What is held is not stored again: the last token alone is computed.
    assert ttft_s(events, again) == pytest.approx((1 / RATE) + more_s / TOKENS)


@pytest.mark.parametrize("written", [{"write": "write_back"}, {"inclusive": False}])
def test_no_step_waits_for_stores_to_a_tier_that_is_written_back(written: dict[str, Any]) -> None:
    tier = {"connector": "lmcache", "write_gib_per_s": 2.0, **written}
    first = ask(0, 0.0, "a")
    _, events = drive(fleet(tier), [first], False, [])
    assert ttft_s(events, first) == pytest.approx(TOKENS / RATE)
    with pytest.raises(ConfigError, match="no step copies what it computes"):
        build_fleet(fleet({**tier, "transfers": {"store": "block"}}))


def test_steps_that_draft_agree_once_for_all_tokens_that_they_give() -> None:
    cost = {"kind": "roofline", "speculative": {"draft_tokens": 3, "acceptance_length": 2.5}}
    group = {"parallelism": {"tp": 4}}
    agreeing = rank_of({"transfers": {"step_s": 0.25}}, cost, group)
    alone = rank_of({}, cost, group)
    for batch, context in ((1, 100), (8, 4000)):
        line, line_alone = (each.decode_line(batch, context) for each in (agreeing, alone))
        assert line.at_s(context) - line_alone.at_s(context) == pytest.approx(0.1)
        assert agreeing.step_s([], batch, context) - alone.step_s([], batch, context) == pytest.approx(0.1)
    chunks = [Chunk(0, 100)]
    assert agreeing.step_s(chunks, 1, 100) - alone.step_s(chunks, 1, 100) == pytest.approx(0.25)


def rank_of(tier: dict[str, Any], cost: dict[str, Any], group: dict[str, Any]) -> Cost:
    """Return what the steps of a rank over such a tier take."""
    return build_fleet(fleet(tier, cost=cost, group=group)).ranks[0].cost


def test_a_request_waits_for_a_look_up_whether_anything_is_found_or_not() -> None:
    config = fleet({"transfers": {"look_up_s": 0.5}}, group={"max_batched_tokens": 300})
    asked = [ask(0, 0.0, "a"), ask(1, 100.0, "a"), ask(2, 100.25, "b", tokens=64)]
    _, events = drive(config, asked, True, [100.3])
    assert [ttft_s(events, op) for op in asked] == pytest.approx(
        [0.5 + TOKENS / RATE, 0.5 + ONE_S, 0.5 + 64 / RATE]
    )


@pytest.mark.parametrize(("gpus", "more_s"), [({}, 0.0), ({"tp": 2}, 0.25), ({"pp": 2}, 0.25)])
def test_each_step_of_several_gpus_takes_the_time_in_which_they_agree(
    gpus: dict[str, int], more_s: float
) -> None:
    group = {"max_batched_tokens": TOKENS // 4, "parallelism": gpus}
    config = fleet({"transfers": {"step_s": 0.25}}, group=group)
    op = ask(0, 0.0, "a", output=11)
    _, events = drive(config, [op], True, [])
    assert ttft_s(events, op) == pytest.approx(TOKENS / RATE + 4 * more_s)
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.itl_mean_s == pytest.approx(DECODE_S + more_s)


def test_copies_slow_the_steps_that_start_while_they_are_under_way() -> None:
    config = fleet({"read_gib_per_s": 0.25, "transfers": {"step_slowdown": 0.5}})
    other = ask(8, 900.0, "z", output=401, tokens=64)
    sent_s = 900.0 + 64 / RATE + 40 * DECODE_S
    _, events = drive(config, [*evicted(), other, ask(9, sent_s, "a")], False, [])
    found = next(e for e in events if isinstance(e, Finished) and e.request_id == 8)
    slow_steps = math.ceil(4 * LOAD_S / (1.5 * DECODE_S))
    expected_s = 400 * DECODE_S + slow_steps * 0.5 * DECODE_S + ONE_S
    assert found.at_s - (900.0 + 64 / RATE) == pytest.approx(expected_s)


def two_loads(config: FleetConfig) -> tuple[float, float]:
    """Return the TTFT of two prompts that are loaded at the same time, on a rank each."""
    first, second = ask(20, 2000.0, "a"), ask(21, 2000.0, "b")
    _, events = drive(
        config, [*(ask(k, 100.0 * k, n) for k, n in enumerate("abcdefgh")), first, second], False, []
    )
    return ttft_s(events, first), ttft_s(events, second)


@pytest.mark.parametrize(
    ("links", "group", "factor"),
    [
        ({"gpu_gib_per_s": 1.0}, {"count": 2, "per_node": 2}, 1),
        ({"node_gib_per_s": 1.0}, {"count": 2, "per_node": 2}, 2),
        ({"node_gib_per_s": 1.0}, {"count": 2, "per_node": 1}, 1),
        ({"nic_gib_per_s": 1.0}, {"count": 2, "per_node": 2}, 2),
        ({"nic_gib_per_s": 1.0}, {"count": 2, "per_node": 1}, 1),
        ({"gpu_gib_per_s": 1.0, "nic_gib_per_s": 2.0}, {"count": 2, "per_node": 2}, 1),
    ],
)
def test_ranks_of_a_node_share_its_links(links: dict[str, float], group: dict[str, int], factor: int) -> None:
    config = fleet({"scope": "cluster"}, links=links, group=group, router="round_robin")
    assert two_loads(config) == pytest.approx((factor * LOAD_S + ONE_S,) * 2)


@pytest.mark.parametrize(
    ("tier", "links", "expected_s"),
    [
        # A load and a store of 4 GiB each: beside each other, one after another, and between the two.
        ({"read_gib_per_s": 1.0, "write_gib_per_s": 1.0}, {}, (4.0, 4.0)),
        ({"read_gib_per_s": 1.0, "write_gib_per_s": 1.0, "transfers": {"both_ways": 1.0}}, {}, (8.0, 8.0)),
        ({"link_gib_per_s": 1.0, "transfers": {"both_ways": 1.6}}, {}, (5.0, 5.0)),
        ({"read_gib_per_s": 2.0, "write_gib_per_s": 0.5, "transfers": {"both_ways": 1.0}}, {}, (8 / 3, 8.0)),
        ({}, {"gpu_gib_per_s": 1.0}, (4.0, 4.0)),
        ({}, {"gpu_gib_per_s": 1.0, "both_ways": 1.0}, (8.0, 8.0)),
        ({}, {"node_gib_per_s": 2.0, "both_ways": 1.0}, (4.0, 4.0)),
    ],
)
def test_a_store_takes_its_share_of_what_both_directions_may_move(
    tier: dict[str, Any], links: dict[str, float], expected_s: tuple[float, float]
) -> None:
    traffic = build_fleet(fleet(tier, links=links)).traffic
    reach, network, found = traffic._reaches[0], traffic.network, list[float]()
    for lane in (reach.reads[1], reach.writes[1]):
        assert lane is not None
        network.start(lane, 4 * GIB, 0.0, found.append)
    while network.next_s() < math.inf:
        network.run(network.next_s())
    assert tuple(found) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("from_s", "until_s", "asked_s", "expected_s"),
    [(0.0, math.inf, 10.0, 4.0), (1.0, 3.0, 10.0, 2.0), (3.0, 9.0, 10.0, 1.0), (1.0, 9.0, 2.5, 1.5)],
)
def test_a_copy_that_spans_the_measured_phase_counts_in_part(
    from_s: float, until_s: float, asked_s: float, expected_s: float
) -> None:
    made = build_fleet(fleet({"read_gib_per_s": 1.0}))
    made.count_busy(from_s, until_s)
    lane = made.traffic._reaches[0].reads[1]
    assert lane is not None
    made.traffic.network.start(lane, 4 * GIB, 0.0, lambda now_s: None)
    while made.traffic.network.next_s() <= asked_s:
        made.traffic.network.run(made.traffic.network.next_s())
    assert made.busy(asked_s).pipes_s == pytest.approx({"dram[0] read": expected_s})


def test_no_transfer_is_faster_than_its_streams_and_what_they_leave_is_the_others() -> None:
    tier = Pipe("tier", 10.0)
    slow, wide = Lane([tier], 0.0, objects(5, 2.0, 1).within(10.0)), Lane([tier], 0.0)
    assert slow.most_bytes_per_s == 2.0
    network, found = Network([slow, wide]), list[float]()
    network.start(slow, 20, 0.0, found.append)
    network.start(wide, 80, 0.0, found.append)
    while network.next_s() < math.inf:
        network.run(network.next_s())
    assert found == pytest.approx([10.0, 10.0])


@pytest.mark.parametrize(("shared", "expected_s"), [(False, (4.0, 4.0)), (True, (8.0, 8.0))])
def test_loads_of_a_rank_share_its_streams_where_they_are_the_ranks(
    shared: bool, expected_s: tuple[float, float]
) -> None:
    stated = {"object_tokens": 1024, "object_s": 0.5, "streams": 1, "stream_gib_per_s": 2.0}
    config = fleet({"transfers": {**stated, "streams_shared": shared}})
    traffic, found = build_fleet(config).traffic, list[float]()
    lane = traffic._reaches[0].reads[1]
    assert lane is not None
    # Four objects of 1 GiB take a second each.
    assert lane.estimate_s(4 * GIB) == pytest.approx(4.0)
    for _ in expected_s:
        traffic.network.start(lane, 4 * GIB, 0.0, found.append)
    while traffic.network.next_s() < math.inf:
        traffic.network.run(traffic.network.next_s())
    assert tuple(found) == pytest.approx(expected_s)


def lane_of(tier: dict[str, Any], group: dict[str, Any]) -> Lane:
    lane = build_fleet(fleet(tier, group=group)).traffic._reaches[0].reads[1]
    assert lane is not None
    return lane


def test_each_gpu_of_a_rank_has_streams_and_a_host_link_of_its_own() -> None:
    stated = {"transfers": {"stream_gib_per_s": 1.0}}
    assert lane_of(stated, {}).estimate_s(8 * GIB) == pytest.approx(8.0)
    assert lane_of(stated, {"parallelism": {"tp": 4, "pp": 2}}).estimate_s(8 * GIB) == pytest.approx(1.0)


def test_a_connector_states_what_a_fleet_does_not() -> None:
    by_connector = lane_of({"connector": "LMCache"}, {}).objects
    assert by_connector is not None
    assert by_connector.object_bytes == 256 * TOKEN_BYTES and by_connector.streams == 1
    stated = lane_of({"connector": "lmcache", "transfers": {"object_tokens": 512}}, {}).objects
    assert stated is not None and stated.object_bytes == 512 * TOKEN_BYTES and stated.streams == 1
    with pytest.raises(
        ConfigError, match="'redis' is in no catalogue; there are hicache, hicache_storage, lmcache"
    ):
        lane_of({"connector": "redis"}, {})


@pytest.mark.parametrize("entry", connectors(), ids=lambda entry: entry.name)
def test_a_fleet_runs_with_every_connector(entry: ConnectorEntry) -> None:
    config = fleet({"read_gib_per_s": 40.0, "connector": entry.name})
    last = ask(9, 1000.0, "a")
    _, events = drive(config, [*evicted(), last], True, [1000.01])
    # At the least the bytes, at the most four times as long.
    least_s = LOAD_S / 40
    assert least_s < ttft_s(events, last) < 4 * least_s + ONE_S


@pytest.mark.parametrize("load", ["beside", "block", "layers"])
@pytest.mark.parametrize("cancel_s", [0.1, 0.6, 1.5])
def test_whoever_is_cancelled_while_it_is_loaded_leaves_nothing_behind(load: str, cancel_s: float) -> None:
    config = fleet({"read_gib_per_s": 1.0, "transfers": {"load": load, "step_slowdown": 0.2}})
    ops = [*evicted(), ask(8, 900.0, "z", output=400, tokens=64), ask(9, 910.0, "a", output=20)]
    ops += [Op(910.0 + cancel_s, None, 9), ask(10, 910.0 + cancel_s, "b"), ask(11, 1500.0, "a")]
    fleet_, events = drive(config, ops, True, [910.05, 910.7, 911.2])
    assert {event.request_id for event in events if isinstance(event, Finished)} >= {8, 10, 11}
    assert fleet_.ranks[0].step._slowdown == 0.0


@pytest.mark.parametrize(
    ("model", "shards"), [("Qwen3-235B-A22B", 4), ("DeepSeek-V3", 1), ("Llama-3.3-70B", 8)]
)
def test_copies_of_kv_take_a_link_each(model: str, shards: int) -> None:
    config = FleetConfig.model_validate(
        {
            "cost": {"kind": "roofline", "model": model, "precision": "fp8"},
            "replicas": [{"gpu": "B200", "parallelism": {"tp": 8}}],
            "tiers": [{"name": "dram"}],
            "links": {"gpu_gib_per_s": 1.0},
        }
    )
    lane = build_fleet(config).traffic._reaches[0].reads[1]
    assert lane is not None and lane.least_bytes_per_s == shards * GIB


@pytest.mark.parametrize(
    ("gpu", "tier", "links", "gib_per_s"),
    [
        # 0.8 of 64 and 32 GB/s for each of two GPUs.
        ("H100", {"connector": "hicache"}, {}, 2 * 0.8 * 64e9 / GIB),
        ("L40S", {"connector": "hicache"}, {}, 2 * 0.8 * 32e9 / GIB),
        ("H100", {"connector": "hicache"}, {"gpu_gib_per_s": 10.0}, 20.0),
        ("H100", {"connector": "hicache", "link_gib_per_s": 150.0}, {}, 150.0),
        # Its host's memory is not behind PCIe; and a tier that no engine moves is as free as it is stated.
        ("GB200", {"connector": "hicache"}, {}, math.inf),
        ("H100", {}, {}, math.inf),
    ],
)
def test_a_connector_crosses_the_pcie_of_a_gpu_that_is_known(
    gpu: str, tier: dict[str, Any], links: dict[str, float], gib_per_s: float
) -> None:
    config = FleetConfig.model_validate(
        {
            "cost": {"kind": "roofline", "model": "Qwen3-32B", "precision": "fp8"},
            "replicas": [{"gpu": gpu, "parallelism": {"tp": 2}}],
            "tiers": [{"name": "dram", **tier}],
            "links": links,
        }
    )
    reach = build_fleet(config).traffic._reaches[0]
    for lane in (reach.reads[1], reach.writes[1]):
        assert lane is not None and lane.least_bytes_per_s == pytest.approx(gib_per_s * GIB)
