"""Several ranks, KV links and tiers with bandwidth equal a naive loop over every step of every rank.

Caches and the network are the fleet's own: they have twins of their own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.config.fleet import (
    FleetConfig,
    PinnedConfig,
    ReplicaGroupConfig,
    SimpleCostConfig,
    TierConfig,
    WatermarkConfig,
)
from swarm.context.tree import Node, Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.cost.base import Chunk
from swarm.fleet.events import CacheUse, Event, Finished, FirstToken, FleetRequest, Refused, Tokens
from swarm.fleet.rank import Rank
from swarm.kvcache.requests import Handle, Transfer
from swarm.streams import digest64
from swarm.units import GIB
from tests.fleet.driven import Op, drive

KV_BYTES = 1024.0


def gib(tokens: float) -> float:
    return tokens * KV_BYTES / GIB


@dataclass(eq=False)
class One:
    """One request in the twin."""

    request: FleetRequest
    node: Node
    ideal: int
    target: int
    rank: Twin
    state: str = "waiting"
    kv: int = 0
    out: int = 0
    handle: Handle | None = None
    sender: Twin | None = None
    sender_handle: Handle | None = None
    loads: int = 0
    times: list[float] = field(default_factory=list)
    cache: CacheUse | None = None
    is_leaving: bool = False


class Twin:
    """One scheduler, a step at a time."""

    def __init__(self, around: Around, rank: Rank, group: ReplicaGroupConfig) -> None:
        self.around, self.group, self.replica = around, group, rank.replica
        self.real = rank
        self.hierarchy, self.cost = rank.hierarchy, rank.cost
        self.max_sequences = min(group.max_sequences, group.max_batched_tokens)
        self.waiting: list[One] = []
        self.open: list[One] = []
        self.pending: list[One] = []
        self.decoding: list[One] = []
        self.joining: list[One] = []
        self.held: list[One] = []
        self.leaving: list[One] = []
        self.chunks: list[tuple[One, Chunk]] = []
        self.started_s = 0.0
        self.ends_s = math.inf
        self.budget = self.stalls = self.entering = 0
        self.is_busy = False

    def poke(self, now_s: float) -> None:
        """Begin a step, or let the one that starts now take more."""
        if self.is_busy:
            return
        if self.ends_s == math.inf:
            self.begin(now_s)
        elif self.started_s == now_s:
            self.is_busy = True
            self.ends_s = self.fill(now_s)
            self.is_busy = False

    def begin(self, now_s: float) -> None:
        self.ends_s = math.inf
        if self.stalls:
            return
        self.is_busy = True
        self.started_s = now_s
        for one in self.joining:
            one.state = "decode"
        self.decoding += self.joining
        self.joining = []
        while self.decoding and not self.has_room(self.decoding):
            self.preempt(now_s)
        self.grow(self.decoding, now_s)
        self.budget = self.group.max_batched_tokens - len(self.decoding)
        self.ends_s = self.fill(now_s)
        self.is_busy = False

    def has_room(self, ones: list[One]) -> bool:
        room_for = self.hierarchy.rules.room_for
        more = sum(max(0, room_for(one.kv + 1) - room_for(one.handle.tokens)) for one in ones if one.handle)
        return more <= self.hierarchy.room_blocks

    def grow(self, ones: list[One], now_s: float) -> None:
        """Take room for one more token each; what that evicts is one write to each tier."""
        writes: dict[int, list[Transfer]] = {}
        for one in ones:
            assert one.handle is not None
            growth = self.hierarchy.grow(one.handle, one.kv + 1 - one.handle.tokens, now_s)
            assert growth.ok
            for transfer in growth.transfers:
                writes.setdefault(transfer.tier_index, []).append(transfer)
        size = self.hierarchy.rules.block_bytes
        for index, parts in sorted(writes.items()):
            blocks = sum(part.blocks for part in parts)
            pieces = [piece for part in parts for piece in part.pieces]
            whole = Transfer(parts[0].tier, index, "write", blocks, size, pieces, None)
            self.around.write(self, [whole], now_s)

    def preempt(self, now_s: float) -> None:
        last = self.open[-1]
        for where in (self.decoding, self.pending):
            if last in where:
                where.remove(last)
        self.give_back(last, now_s)
        if last.sender is None:
            last.target = last.request.prompt.length + last.out
        last.kv, last.loads, last.state = 0, 0, "waiting"
        self.waiting.insert(0, last)

    def give_back(self, one: One, now_s: float) -> None:
        self.open.remove(one)
        handle, one.handle = one.handle, None
        assert handle is not None
        computed = 0 if one.state in ("loading", "arriving") else one.kv
        self.around.write(self, self.hierarchy.release(handle, now_s, computed), now_s)

    def fill(self, now_s: float) -> float:
        while self.joining and self.budget > 0 and self.has_room(self.joining[:1]):
            one = self.joining.pop(0)
            one.state = "decode"
            self.decoding.append(one)
            self.grow([one], now_s)
            self.budget -= 1
        while self.budget > 0 and (self.pending or self.admit(now_s)):
            if not self.pending:
                continue
            one = self.pending.pop(0)
            chunk = Chunk(one.kv, min(self.budget, one.target - one.kv))
            self.budget -= chunk.tokens
            self.chunks.append((one, chunk))
            one.state = "chunk"
            assert one.handle is not None
            self.hierarchy.publish(one.handle, one.kv + chunk.tokens)
        if not self.chunks and not self.decoding:
            return math.inf
        context = sum(one.kv for one in self.decoding)
        return now_s + self.cost.step_s([chunk for _, chunk in self.chunks], len(self.decoding), context)

    def admit(self, now_s: float) -> bool:
        if not self.waiting or len(self.open) >= self.max_sequences:
            return False
        one = self.waiting[0]
        match = self.hierarchy.lookup(Prompt(one.node, one.target), now_s)
        use: int | None = match.by_tier[0]
        if one.sender is None:
            use = self.around.real.traffic.use_tokens(self.real.place, match, now_s)
        ideal = one.ideal if one.cache is None else None
        admission = self.hierarchy.admit(match, now_s, use_tokens=use, ideal_tokens=ideal)
        writes = [transfer for transfer in admission.transfers if transfer.direction == "write"]
        self.around.write(self, writes, now_s)
        if admission.handle is None:
            return False
        self.open.append(self.waiting.pop(0))
        one.handle, one.kv = admission.handle, admission.used_tokens
        if one.sender:
            one.state = "arriving"
            self.around.receive(self, one, now_s)
            return True
        if one.cache is None:
            by_tier, lost_to = admission.used_by_tier, admission.lost_to
            one.cache = CacheUse(one.target, admission.used_tokens, admission.ideal_tokens, by_tier, lost_to)
        one.state = "loading"
        for transfer in admission.transfers:
            if transfer.direction == "read":
                one.loads += self.around.read(self, one, transfer, now_s)
        if not one.loads:
            one.state = "pending"
            self.pending.append(one)
        return True

    def landed(self, one: One, transfer: Transfer, now_s: float) -> None:
        self.hierarchy.land(transfer, now_s)
        if one.handle is transfer.handle:
            one.loads -= 1
            if not one.loads:
                one.state = "pending"
                self.pending.append(one)
                self.poke(now_s)

    def arrived(self, one: One, handle: Handle, now_s: float) -> None:
        if one.handle is handle:
            self.around.let_sender_go(one, now_s)
            one.kv = one.target
            self.hierarchy.publish(handle, one.target)
            one.state = "joining"
            self.joining.append(one)
            self.poke(now_s)

    def end(self, now_s: float) -> None:
        self.is_busy = True
        tokens: list[Event] = []
        for one in self.decoding:
            one.kv += 1
            self.token(one, now_s, tokens)
        for one in [one for one in self.decoding if one.out == one.request.output_tokens]:
            self.decoding.remove(one)
            self.finish(one, now_s)
        for one, chunk in self.chunks:
            one.kv += chunk.tokens
            if not one.is_leaving:
                self.computed(one, now_s, tokens)
        self.chunks = []
        for one in self.leaving:
            if one.state != "ended":
                self.quit(one, now_s)
        self.leaving = []
        self.around.events += tokens
        self.is_busy = False
        self.begin(now_s)

    def token(self, one: One, now_s: float, tokens: list[Event]) -> None:
        one.out += 1
        one.times.append(now_s)
        if one.out > 1 and not one.is_leaving:
            tokens.append(Tokens(now_s, one.request.request_id, one.out))

    def computed(self, one: One, now_s: float, tokens: list[Event]) -> None:
        if one.kv < one.target:
            one.state = "pending"
            self.pending.insert(0, one)
            return
        self.token(one, now_s, tokens)
        if one.out == 1:
            assert one.cache is not None
            self.around.events.append(FirstToken(now_s, one.request.request_id, one.cache, self.replica))
        if one.out == one.request.output_tokens:
            self.finish(one, now_s)
        elif self.group.role == "prefill":
            self.open.remove(one)
            self.held.append(one)
            one.sender, one.sender_handle, one.handle = self, one.handle, None
            self.around.hand_over(one, now_s)
        else:
            one.state = "decode"
            self.decoding.append(one)

    def finish(self, one: One, now_s: float) -> None:
        request = one.request
        if not one.is_leaving:
            gaps = [after - before for before, after in zip(one.times, one.times[1:], strict=False)]
            mean_s = (one.times[-1] - one.times[0]) / len(gaps) if gaps else 0.0
            longest_s = max(gaps, default=0.0)
            end = Finished(now_s, request.request_id, request.output_tokens, mean_s, longest_s)
            self.around.events.append(end)
            if request.echo and self.hierarchy.losses is not None:
                self.hierarchy.losses.ideal.output(request.prompt, request.output_tokens)
        self.quit(one, now_s)

    def quit(self, one: One, now_s: float) -> None:
        for where in (self.waiting, self.pending, self.joining, self.decoding):
            if one in where:
                where.remove(one)
        if one.handle is not None:
            self.give_back(one, now_s)
        one.state = "ended"
        self.around.let_sender_go(one, now_s)
        del self.around.live[one.request.request_id]

    def cancel(self, one: One, now_s: float) -> None:
        if self.ends_s < math.inf and one.state in ("chunk", "decode"):
            if not one.is_leaving:
                one.is_leaving = True
                self.leaving.append(one)
            return
        self.quit(one, now_s)
        self.poke(now_s)


class Around:
    """The twins, with the lanes and memories of a fleet that is never run."""

    def __init__(self, config: FleetConfig) -> None:
        self.config = config
        self.real = build_fleet(config)
        groups = [group for group in config.replicas for _ in range(group.count)]
        self.ranks = [Twin(self, rank, group) for rank, group in zip(self.real.ranks, groups, strict=True)]
        self.entrances = [rank for rank in self.ranks if rank.group.role != "decode"]
        self.decoders = [rank for rank in self.ranks if rank.group.role == "decode"]
        self.picks = {"decode": 0, "entrance": 0}
        self.events: list[Event] = []
        self.live: dict[int, One] = {}
        self.queues: dict[Any, list[Any]] = {}
        self.reaches = self.real.traffic._reaches

    def pick(self, door: str, ranks: list[Twin], session: str) -> Twin:
        match self.config.router:
            case "round_robin":
                self.picks[door] += 1
                return ranks[(self.picks[door] - 1) % len(ranks)]
            case "session_affine":
                return ranks[digest64(session) % len(ranks)]
        return min(ranks, key=lambda rank: rank.entering + len(rank.waiting) + len(rank.open))

    def read(self, rank: Twin, one: One, transfer: Transfer, now_s: float) -> bool:
        lane = self.reaches[rank.replica].reads[transfer.tier_index]
        assert lane is not None
        landed = partial(rank.landed, one, transfer)
        if self.real.traffic.network.start(lane, transfer.bytes, now_s, landed):
            return True
        rank.hierarchy.land(transfer, now_s)
        return False

    def receive(self, rank: Twin, one: One, now_s: float) -> None:
        assert one.sender is not None and one.handle is not None
        lane = self.real.traffic._kv_lanes[one.sender.replica, rank.replica]
        arrived = partial(rank.arrived, one, one.handle)
        assert self.real.traffic.network.start(lane, (one.target - one.kv) * KV_BYTES, now_s, arrived)

    def let_sender_go(self, one: One, now_s: float) -> None:
        sender, handle = one.sender, one.sender_handle
        if sender is not None and handle is not None:
            one.sender = one.sender_handle = None
            sender.held.remove(one)
            self.write(sender, sender.hierarchy.release(handle, now_s, one.request.prompt.length), now_s)
            sender.poke(now_s)

    def hand_over(self, one: One, now_s: float) -> None:
        one.rank, one.state = self.pick("decode", self.decoders, one.request.session), "waiting"
        one.rank.waiting.append(one)
        one.rank.poke(now_s)

    def write(self, rank: Twin, transfers: list[Transfer], now_s: float) -> None:
        """Start writes in the order in which they come; `queue` is bytes and what is blocked."""
        for transfer in transfers:
            spec = transfer.tier.spec
            queue = self.queues.setdefault(transfer.tier, [0, deque()])
            if not queue[1] and (not queue[0] or queue[0] + transfer.bytes <= spec.write_queue_bytes):
                self.start_write(rank, transfer, now_s)
            elif spec.write_policy == "drop":
                rank.hierarchy.drop(transfer)
            else:
                rank.hierarchy.block(transfer)
                rank.stalls += 1
                queue[1].append((rank, transfer))

    def start_write(self, rank: Twin, transfer: Transfer, now_s: float) -> None:
        self.queues[transfer.tier][0] += transfer.bytes
        lane = self.reaches[rank.replica].writes[transfer.tier_index]
        assert lane is not None
        written = partial(self.written, rank, transfer)
        if not self.real.traffic.network.start(lane, transfer.bytes, now_s, written):
            self.written(rank, transfer, now_s)

    def written(self, rank: Twin, transfer: Transfer, now_s: float) -> None:
        queue = self.queues[transfer.tier]
        queue[0] -= transfer.bytes
        self.write(rank, rank.hierarchy.land(transfer, now_s), now_s)
        limit = transfer.tier.spec.write_queue_bytes
        while queue[1] and (not queue[0] or queue[0] + queue[1][0][1].bytes <= limit):
            stalled, waiting = queue[1].popleft()
            self.start_write(stalled, waiting, now_s)
            stalled.stalls -= 1
            stalled.poke(now_s)

    def next_expiry(self) -> tuple[float, int]:
        """Return when a block first outlives a TTL that a tier below keeps longer, and at which rank."""
        due: list[tuple[float, int]] = [(math.inf, -1)]
        for place, rank in enumerate(self.ranks):
            for tier in rank.hierarchy._handing_on:
                uses = [use for runs in tier.runs.by_node.values() for _, _, use in runs]
                due += [(math.nextafter(use.at_s + tier.ttl_s, math.inf), place) for use in uses]
        return min(due)

    def apply(self, op: Op, now_s: float) -> None:
        if op.request is None:
            one = self.live.get(op.cancels)
            if one is not None and not one.is_leaving:
                one.rank.cancel(one, now_s)
            return
        request, prompt = op.request, op.request.prompt
        if self.real._refusal(request, now_s) is not None:
            self.events.append(Refused(now_s, request.request_id, "", None))
            return
        rank = self.pick("entrance", self.entrances, request.session)
        node = prompt.node if request.echo else prompt.branch(f"reply {request.request_id}").node
        one = One(request, node, self.real._losses.ideal.send(*prompt), prompt.length, rank)
        self.live[request.request_id] = one
        rank.waiting.append(one)
        rank.poke(now_s)

    def run(self, ops: list[Op]) -> list[Event]:
        left, network = deque(ops), self.real.traffic.network
        while True:
            expiry_s, place = self.next_expiry()
            next_op_s = left[0].at_s if left else math.inf
            first = min(self.ranks, key=lambda rank: rank.ends_s)
            now_s = min(expiry_s, network.next_s(), first.ends_s, next_op_s)
            if now_s == math.inf:
                assert not self.live
                return self.events
            if expiry_s <= now_s:
                self.write(self.ranks[place], self.ranks[place].hierarchy.expire(now_s), now_s)
            elif network.next_s() <= now_s:
                network.run(now_s)
            elif first.ends_s <= now_s:
                first.end(now_s)
            else:
                self.apply(left.popleft(), now_s)
            for rank in self.ranks:
                rank.poke(now_s)


POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"eviction": "fifo"},
    {"eviction": "watermark"},
    {
        "eviction": "watermark",
        "watermark": WatermarkConfig(
            eviction_high_watermark_ratio=0.7, eviction_ratio=0.4, kv_lease_ttl_s=1.1, soft_pin_tokens=4
        ),
    },
)
WRITES: tuple[dict[str, Any], ...] = (
    {},
    {"inclusive": False},
    {"write": "write_back"},
    {"write": "write_through_selective"},
)


@st.composite
def tiers_of(draw: st.DrawFn, block: int) -> tuple[TierConfig, ...]:
    # Up to six blocks of a pool of eight: prompts that need more are refused, as elsewhere.
    pinned = draw(st.sampled_from([None, None, PinnedConfig(tokens=2 * block, share=0.3)]))
    tiers = [TierConfig(name="hbm", ttl_s=draw(st.sampled_from([None, 0.5, 2.0])), pinned=pinned)]
    names = draw(st.sampled_from([[], ["dram"], ["dram"], ["dram", "nvme"]]))
    for name in names:
        writes: dict[str, Any] = {}
        if draw(st.booleans()):
            writes = {
                "write_gib_per_s": gib(draw(st.sampled_from([8.0, 33.3, 100.0]))),
                "write_policy": draw(st.sampled_from(["drop", "block"])),
                "write_queue_gib": gib(block * draw(st.sampled_from([1, 5, 1000]))),
                "write_latency_s": draw(st.sampled_from([0.0, 0.11])),
                "scope": "cluster" if name == names[-1] else "replica",
            }
        tiers.append(
            TierConfig(
                name=name,
                capacity_gib=gib(draw(st.integers(4, 60)) * block),
                ttl_s=draw(st.sampled_from([None, 2.0, 4.0])),
                **draw(st.sampled_from(POLICIES)),
                **draw(st.sampled_from(WRITES)),
                read_latency_s=draw(st.sampled_from([0.0, 0.1234567, 0.9])),
                read_gib_per_s=draw(st.sampled_from([None, gib(20.3), gib(64.0)])),
                **writes,
            )
        )
    return tuple(tiers)


@st.composite
def configs(draw: st.DrawFn) -> FleetConfig:
    block = draw(st.sampled_from([1, 4]))
    roles = draw(st.sampled_from([("aggregated",), ("prefill", "decode")]))
    return FleetConfig(
        block_tokens=block,
        recompute_when_faster=draw(st.booleans()),
        router=draw(st.sampled_from(["round_robin", "session_affine", "least_loaded"])),
        cost=SimpleCostConfig(
            prefill_tokens_per_s=61.7,
            decode_base_s=0.0713,
            decode_per_sequence_s=draw(st.sampled_from([0.0, 0.0131])),
            decode_per_context_token_s=draw(st.sampled_from([0.0, 0.00117])),
            kv_bytes_per_token=KV_BYTES,
            kv_capacity_tokens=draw(st.sampled_from([draw(st.integers(8, 48)), 100_000])) * block,
        ),
        kv_link_gib_per_s=gib(draw(st.sampled_from([15.1, 64.0, 1e6]))),
        kv_link_latency_s=draw(st.sampled_from([0.0, 0.0301, 0.25])),
        replicas=tuple(
            ReplicaGroupConfig(
                role=role,
                count=draw(st.integers(1, 2)),
                max_batched_tokens=draw(st.sampled_from([4, 8, 33])),
                max_sequences=draw(st.integers(1, 4)),
            )
            for role in roles
        ),
        tiers=draw(tiers_of(block)),
        max_model_len=60,
    )


@st.composite
def workloads(draw: st.DrawFn) -> list[Op]:
    prompts = [root("a").extend(6), root("b").extend(3)]
    ops: list[Op] = []
    at_s = 0.0
    for number in range(draw(st.integers(1, 20))):
        at_s += draw(st.sampled_from([0, 0, 1, 2, 5, 16, 64])) * math.sqrt(2) / 40
        if ops and draw(st.integers(0, 3)) == 0:
            ops.append(Op(at_s, None, draw(st.integers(0, number))))
            continue
        base = prompts[draw(st.integers(0, len(prompts) - 1))]
        if draw(st.booleans()):
            base = base.branch(f"n{number}")
        prompt = base.extend(draw(st.integers(0, 15)))
        output = draw(st.integers(1, 12))
        prompts.append(prompt.extend(output))
        session = f"s{number % 3}"
        ops.append(Op(at_s, FleetRequest(number, session, session, prompt, output, draw(st.booleans())), 0))
    return ops


def by_request(events: list[Event]) -> dict[tuple[str, int, int], Event]:
    """Return each event by its kind, request and, of tokens, their count: each happens once."""
    found = {(type(event).__name__, event.request_id, getattr(event, "total", 0)): event for event in events}
    assert len(found) == len(events)
    return found


def check_same(fast: list[Event], slow: list[Event]) -> None:
    told, twins = by_request(fast), by_request(slow)
    assert told.keys() == twins.keys()
    for key, event in told.items():
        twin = twins[key]
        assert event.at_s == pytest.approx(twin.at_s, rel=1e-9), event
        if isinstance(event, Finished) and isinstance(twin, Finished):
            assert event.itl_mean_s == pytest.approx(twin.itl_mean_s, rel=1e-7)
            assert event.itl_max_s == pytest.approx(twin.itl_max_s, rel=1e-7)
        elif isinstance(event, FirstToken) and isinstance(twin, FirstToken):
            # Not `lost_to`: another rank's pool may hold what its decoding has taken since it last looked.
            assert event.cache[:4] == twin.cache[:4] and event.replica == twin.replica


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs(), ops=workloads())
def test_a_fleet_equals_a_loop_over_every_step_of_every_rank(config: FleetConfig, ops: list[Op]) -> None:
    _, fast = drive(config, ops, tokens=True, extra=[])
    check_same(fast, Around(config).run(ops))


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    config=configs(),
    ops=workloads(),
    extra=st.lists(st.floats(0, 30), max_size=12),
    router=st.sampled_from(["prefix_aware", "least_loaded"]),
    pool=st.integers(8, 48),
)
def test_every_request_ends_once_and_more_calls_change_no_event(
    config: FleetConfig, ops: list[Op], extra: list[float], router: str, pool: int
) -> None:
    cost = config.cost.model_copy(update={"kv_capacity_tokens": pool * config.block_tokens})
    config = config.model_copy(update={"router": router, "cost": cost})
    fleet, once = drive(config, ops, tokens=False, extra=[])
    assert drive(config, ops, tokens=False, extra=extra)[1] == once
    streamed = drive(config, ops, tokens=True, extra=extra)[1]
    assert [event for event in streamed if not isinstance(event, Tokens)] == once
    ended = [event.request_id for event in once if isinstance(event, Finished | Refused)]
    assert len(set(ended)) == len(ended) == fleet.counts.submitted - fleet.counts.cancelled
    for event in once:
        if isinstance(event, FirstToken):
            cache = event.cache
            assert sum(cache.by_tier) == cache.cached_tokens and min(cache.lost_to) >= 0
            assert sum(cache.lost_to) == cache.ideal_tokens - cache.cached_tokens


def simple(
    tiers: tuple[TierConfig, ...], groups: tuple[ReplicaGroupConfig, ...], pool: int = 10**6, **changes: Any
) -> FleetConfig:
    cost = SimpleCostConfig(
        prefill_tokens_per_s=1000.0,
        decode_base_s=0.0625,
        kv_bytes_per_token=KV_BYTES,
        kv_capacity_tokens=pool,
    )
    return FleetConfig(
        block_tokens=1, recompute_when_faster=False, cost=cost, replicas=groups, tiers=tiers, **changes
    )


def ask(at_s: float, number: int, length: int, output: int, session: str = "s") -> Op:
    prompt = root(f"r{number}").extend(length)
    return Op(at_s, FleetRequest(number, session, session, prompt, output, False), 0)


APART = (ReplicaGroupConfig(role="prefill"), ReplicaGroupConfig(role="decode"))
HANDS_ON = (
    TierConfig(name="hbm", ttl_s=2.0),
    TierConfig(
        name="dram",
        inclusive=False,
        write_gib_per_s=gib(1),
        write_policy="block",
        write_queue_gib=gib(1),
    ),
)


def test_what_is_preempted_while_its_kv_arrives_comes_again_as_it_was() -> None:
    # 34 tokens are what the second needs in the end: with one token of KV more it would fit no more.
    config = simple((TierConfig(name="hbm"),), APART, 34, kv_link_gib_per_s=gib(15), kv_link_latency_s=0.0)
    ops = [ask(0.0, 0, 6, 12), ask(0.0, 1, 28, 7)]
    fleet, events = drive(config, ops, tokens=True, extra=[])
    check_same(events, Around(config).run(ops))
    assert fleet.ranks[1].preemptions == 1


def test_kv_that_comes_again_is_no_prompt_to_compute() -> None:
    config = simple((TierConfig(name="hbm"),), APART, 36, kv_link_gib_per_s=gib(15), kv_link_latency_s=0.0)
    fleet = build_fleet(config)
    for op in (ask(0.0, 0, 6, 12), ask(0.0, 1, 28, 7)):
        assert op.request is not None
        fleet.submit(op.request, 0.0)
    while (due_s := fleet.next_event_s()) is not None:
        fleet.advance(due_s)
        assert fleet.ranks[1].backlog_tokens == 0
    assert fleet.ranks[1].preemptions == 1


def test_a_write_that_must_wait_stalls_within_a_phase() -> None:
    # At 2.004 and 2.104 s four blocks outlive HBM's TTL; the first write takes 4 s, so the second stalls.
    config = simple(HANDS_ON, (ReplicaGroupConfig(),))
    ops = [ask(0.0, 0, 4, 1), ask(0.1, 1, 4, 1), ask(0.2, 2, 10, 80)]
    _, events = drive(config, ops, tokens=True, extra=[])
    check_same(events, Around(config).run(ops))
    (end,) = [event for event in events if isinstance(event, Finished) and event.request_id == 2]
    assert end.itl_max_s == pytest.approx(3.919, abs=0.001)


def test_who_is_cancelled_while_its_rank_is_stalled_leaves_at_once() -> None:
    config = simple(HANDS_ON, (ReplicaGroupConfig(),), 100)
    ops = [ask(0.0, 0, 4, 1), ask(0.1, 1, 4, 1), ask(0.2, 2, 10, 80), ask(0.2, 3, 10, 60), Op(4.0, None, 3)]
    fleet, events = drive(config, ops, tokens=True, extra=[])
    check_same(events, Around(config).run(ops))
    assert fleet.counts.cancelled == 1 and fleet.ranks[0].preemptions == 0


def test_writes_to_a_tier_start_in_the_order_in_which_they_come() -> None:
    names = {digest64(f"s{k}") % 2: f"s{k}" for k in range(20)}
    tier = TierConfig(
        name="pooled_dram",
        scope="cluster",
        write_gib_per_s=gib(100),
        write_policy="block",
        write_queue_gib=gib(200),
    )
    groups = (ReplicaGroupConfig(count=2),)
    config = simple((TierConfig(name="hbm"), tier), groups, router="session_affine")
    # One rank writes 12 blocks every 0.1 s, more than the tier takes; the other one once more than its queue.
    ops = [ask(0.1 * k, k, 12, 1, names[0]) for k in range(80)]
    ops += [ask(1.05, 100, 201, 1, names[1]), ask(1.45, 101, 5, 1, names[1])]
    ops.sort(key=lambda op: op.at_s)
    _, events = drive(config, ops, tokens=True, extra=[])
    check_same(events, Around(config).run(ops))
    (end,) = [event for event in events if isinstance(event, Finished) and event.request_id == 101]
    assert end.at_s < 1.6


def test_what_decoding_needs_beside_a_chunk_leaves_the_cache_before_a_cancel_gives_room() -> None:
    tiers = (TierConfig(name="hbm", ttl_s=1.0), TierConfig(name="dram", read_latency_s=100.0))
    config = simple(tiers, (ReplicaGroupConfig(max_batched_tokens=4, max_sequences=4),), 39)
    loads, cached = root("loads").extend(10), root("cached").extend(6)
    # The second `loads` waits for DRAM while `b` is computed beside the decoding `a`, and is cancelled then.
    asked = [
        (0.0, loads, 1),
        (2.0, cached, 1),
        (2.01, root("a").extend(8), 30),
        (2.03, loads.extend(1), 1),
        (2.03, root("b").extend(12), 1),
        (2.6, cached.extend(1), 1),
    ]
    ops = [
        Op(at_s, FleetRequest(number, "s", "s", prompt, output, False), 0)
        for number, (at_s, prompt, output) in enumerate(asked)
    ]
    ops.insert(5, Op(2.15, None, 3))
    _, events = drive(config, ops, tokens=True, extra=[])
    check_same(events, Around(config).run(ops))
    (first,) = [event for event in events if isinstance(event, FirstToken) and event.request_id == 5]
    assert first.cache.by_tier[:2] == (5, 1)


def test_what_decoding_evicts_is_written_when_its_room_is_needed() -> None:
    # Each long reply pushes out what came before; the tier takes 0.1 s a block, a step 0.0625 s.
    tiers = (
        TierConfig(name="hbm"),
        TierConfig(name="dram", inclusive=False, write_gib_per_s=gib(10), write_queue_gib=gib(4)),
    )
    config = simple(tiers, (ReplicaGroupConfig(),), 60)
    ops = [ask(0.0, 0, 20, 1), ask(1.0, 1, 10, 40), ask(4.0, 2, 5, 1)]
    fleet, events = drive(config, ops, tokens=True, extra=[])
    twin = Around(config)
    check_same(events, twin.run(ops))
    tier = fleet.ranks[0].hierarchy.tiers[1]
    assert tier.counters == twin.ranks[0].hierarchy.tiers[1].counters


def test_what_is_evicted_ahead_in_large_pools_changes_hits_by_little() -> None:
    size = 16
    tiers = (
        TierConfig(name="hbm"),
        TierConfig(
            name="pooled_dram", scope="cluster", capacity_gib=gib(120_000), inclusive=False,
            read_gib_per_s=gib(65_000), write_gib_per_s=gib(33_000), write_queue_gib=gib(500_000),
        ),
    )  # fmt: skip
    config = FleetConfig(
        block_tokens=size,
        router="round_robin",
        recompute_when_faster=False,
        cost=SimpleCostConfig(
            prefill_tokens_per_s=20_000.0,
            decode_base_s=0.0101,
            decode_per_sequence_s=0.00021,
            kv_bytes_per_token=KV_BYTES,
            kv_capacity_tokens=60_000,
        ),
        replicas=(ReplicaGroupConfig(count=2, max_batched_tokens=4096, max_sequences=64),),
        tiers=tiers,
        max_model_len=60_000,
    )
    ops = sorted(turns(sessions=40, each=6), key=lambda op: op.at_s)
    fleet, events = drive(config, ops, tokens=False, extra=[])
    twins = Around(config).run(ops)
    cached, steps = (
        [event.cache.cached_tokens for event in told if isinstance(event, FirstToken)]
        for told in (events, twins)
    )
    offered = fleet.ranks[0].hierarchy.tiers[1].counters.offered_blocks
    assert len(cached) == len(steps) and offered > 20_000
    assert abs(sum(cached) / sum(steps) - 1.0) < 0.003


def turns(*, sessions: int, each: int) -> Iterator[Op]:
    """Yield the turns of sessions whose contexts grow."""
    chance = Random(5)
    for session in range(sessions):
        prompt, at_s = root(f"x{session}").extend(2000), chance.uniform(0, 60)
        for turn in range(each):
            output = chance.randint(150, 450)
            number, name = session * each + turn, f"s{session}"
            yield Op(at_s, FleetRequest(number, name, name, prompt, output, True), 0)
            prompt = prompt.extend(output + chance.randint(100, 800))
            at_s += output * 0.02 + chance.expovariate(1 / 8)


def test_an_estimate_knows_how_far_the_phase_under_way_is() -> None:
    cost = SimpleCostConfig(prefill_tokens_per_s=20_000.0, decode_per_context_token_s=1e-7)
    fleet = build_fleet(FleetConfig(cost=cost))
    fleet.submit(FleetRequest(0, "s", "s", root("r").extend(1000), 40_000, True), 0.0)
    rank, prompt = fleet.ranks[0], root("q").extend(1000)
    fleet.advance(1.0)
    early_s = rank.estimate_s(prompt, None, 1.0)
    fleet.advance(300.0)
    assert rank.estimate_s(prompt, None, 300.0) - early_s > 128 * 1e-7 * 20_000


def test_who_is_cancelled_on_the_way_to_the_queue_is_not_counted_as_waiting() -> None:
    fleet = build_fleet(FleetConfig(cost=SimpleCostConfig(entry_s=5.0), max_waiting=1))
    for op in (ask(0.0, 0, 9, 1), Op(0.5, None, 0), ask(1.0, 1, 9, 1)):
        if op.request is None:
            fleet.cancel(op.cancels, op.at_s)
        else:
            fleet.submit(op.request, op.at_s)
    assert fleet.ranks[0].entering == 1 and fleet.counts.refused == 0
