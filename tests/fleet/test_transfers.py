"""What loads and stores cost, against closed forms: objects and streams, steps that wait, shared links."""

from __future__ import annotations

import math
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig
from swarm.context.tree import root
from swarm.fleet.events import Event, Finished, FirstToken, FleetRequest
from swarm.fleet.objects import Objects
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
    assert within.alone_s(size, link) == pytest.approx(expected_s)
    fluid_s = size / min(within.bytes_per_s, link)
    assert fluid_s + within.more_s(size, link) == pytest.approx(expected_s)


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
        ({"rank_gib_per_s": 1.0}, {"count": 2, "per_node": 2}, 1),
        ({"node_gib_per_s": 1.0}, {"count": 2, "per_node": 2}, 2),
        ({"node_gib_per_s": 1.0}, {"count": 2, "per_node": 1}, 1),
        ({"nic_gib_per_s": 1.0}, {"count": 2, "per_node": 2}, 2),
        ({"nic_gib_per_s": 1.0}, {"count": 2, "per_node": 1}, 1),
        ({"rank_gib_per_s": 1.0, "nic_gib_per_s": 2.0}, {"count": 2, "per_node": 2}, 1),
    ],
)
def test_ranks_of_a_node_share_its_links(links: dict[str, float], group: dict[str, int], factor: int) -> None:
    config = fleet({"scope": "cluster"}, links=links, group=group, router="round_robin")
    assert two_loads(config) == pytest.approx((factor * LOAD_S + ONE_S,) * 2)
