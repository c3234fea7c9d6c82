"""The fleet equals a naive loop over every engine step: no closed forms, no sums, no heap."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.config.fleet import (
    FleetConfig,
    ReplicaGroupConfig,
    SimpleCostConfig,
    StatesConfig,
    StatesSaved,
    TierConfig,
)
from swarm.config.transfers import StoreMode, TransferConfig
from swarm.context.ideal import Ideal
from swarm.context.tree import Prompt, root
from swarm.fleet.events import CacheUse, Event, Finished, FirstToken, FleetRequest, Refused, Tokens
from swarm.fleet.saved_states import state_rules
from swarm.kvcache.blocks import Uses
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.policy import WRITE_BACK, WRITE_THROUGH
from swarm.kvcache.requests import Handle, Transfer
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.states import StateTier
from swarm.kvcache.tier import Tier, TierSpec
from tests.fleet.driven import Op, drive

KV_BYTES = 1024.0
STATES = [StatesConfig(blocks=blocks, saved=saved) for blocks in (1, 3) for saved in get_args(StatesSaved)]
STORED_PER_S = 200.0
"""Tokens, where stores take time."""


@dataclass
class Naive:
    """One request in the twin."""

    request: FleetRequest
    prompt: Prompt
    ideal: int
    kv: int = 0
    target: int = 0
    out: int = 0
    state: str = "waiting"
    handle: Handle | None = None
    loads: int = 0
    step_loads: int = 0
    load_s: float = 0.0
    land_s: float = 0.0
    times: list[float] = field(default_factory=list)
    cached: int | None = None
    is_leaving: bool = False


class Twin:
    """One scheduler, a step at a time."""

    def __init__(self, config: FleetConfig) -> None:
        cost = config.cost
        assert isinstance(cost, SimpleCostConfig)
        self.config, self.cost, self.group = config, cost, config.replicas[0]
        self.rules = CacheRules(
            block_tokens=config.block_tokens,
            block_bytes=int(KV_BYTES * config.block_tokens),
            hit_leaves_a_token=True,
            partial_blocks=True,
        )
        self.transfers = config.tiers[-1].transfers
        self.states = state_rules(config)
        self.blocks = cost.kv_capacity_tokens // config.block_tokens
        tiers = [self._tier(config.tiers[0], self.blocks)]
        for tier in config.tiers[1:]:
            assert tier.capacity_gib is not None
            tiers.append(self._tier(tier, int(tier.capacity_gib * 2**30) // self.rules.block_bytes))
        self.cache = Hierarchy(tiers=tiers, rules=self.rules, uses=Uses(), losses=None, states=self.states)
        self.ideal = Ideal(block_tokens=config.block_tokens)
        self.waiting: list[Naive] = []
        self.open: list[Naive] = []
        self.pending: list[Naive] = []
        self.decoding: list[Naive] = []
        self.chunks: list[tuple[Naive, int]] = []
        self.leaving: list[Naive] = []
        """Cancelled in the step under way, in this order."""
        self.landings: list[tuple[float, Transfer, Naive, Handle]] = []
        self.events: list[Event] = []
        self.budget = 0

    def _tier(self, config: TierConfig, blocks: int) -> Tier:
        spec = TierSpec(
            name=config.name,
            capacity_blocks=blocks,
            ttl_s=config.ttl_s,
            scope="replica",
            inclusive=config.inclusive,
            policy=WRITE_THROUGH if config.inclusive else WRITE_BACK,
            read_bytes_per_s=None,
            write_bytes_per_s=None,
            read_latency_s=config.read_latency_s,
            write_latency_s=0.0,
            write_policy="drop",
            write_queue_bytes=math.inf,
        )
        return Tier(spec) if self.states is None else StateTier(spec, self.states.blocks)

    def run(self, ops: list[Op]) -> list[Event]:
        ops = list(ops)
        now, ends = 0.0, None
        while True:
            next_op = ops[0].at_s if ops else math.inf
            next_land = min((landing[0] for landing in self.landings), default=math.inf)
            next_end = math.inf if ends is None else ends
            next_expiry = self.next_expiry_s()
            now = min(next_op, next_land, next_end, next_expiry)
            if now == math.inf:
                return self.events
            if next_expiry <= now:
                self.writes(self.cache.expire(now), now)
                continue
            if next_land <= now:
                landing = min(self.landings, key=lambda item: item[0])
                self.landings.remove(landing)
                self.land(landing[1], landing[2], landing[3], now)
                is_extending = True
            elif next_end <= now:
                self.end_step(now)
                ends = None
                is_extending = False
            else:
                self.apply(ops.pop(0), now)
                is_extending = True
            if ends is None:
                ends = self.begin_step(now)
                started = now
            elif is_extending and started == now:
                ends = self.fill(now)

    def next_expiry_s(self) -> float:
        """Return when a block first outlives a tier's TTL that the tier below keeps longer."""
        due_s = [math.inf]
        for above, below in itertools.pairwise(self.cache.tiers):
            if above.ttl_s < below.ttl_s:
                uses = [use for runs in above.runs.by_node.values() for _, _, use in runs]
                due_s += [math.nextafter(use.at_s + above.ttl_s, math.inf) for use in uses]
        return min(due_s)

    def writes(self, transfers: list[Transfer], now: float) -> None:
        for transfer in transfers:
            if transfer.direction == "write":
                self.writes(self.cache.land(transfer, now), now)

    def land(self, transfer: Transfer, one: Naive, handle: Handle, now: float) -> None:
        self.cache.land(transfer, now)
        if one.handle is handle and one.step_loads:
            one.step_loads -= 1
        elif one.handle is handle:
            one.loads -= 1
            if not one.loads:
                one.state = "pending"
                self.pending.append(one)

    def apply(self, op: Op, now: float) -> None:
        if op.request is None:
            for one in [*self.waiting, *self.open]:
                if one.request.request_id == op.cancels:
                    self.cancel(one, now)
            return
        request = op.request
        tokens = request.prompt.length + request.output_tokens
        blocks = self.blocks - (0 if self.states is None else self.states.room_blocks)
        if tokens > self.config.max_model_len or tokens - 1 > blocks * self.rules.block_tokens:
            self.events.append(Refused(now, request.request_id, "", None))
            return
        prompt = request.prompt if request.echo else request.prompt.branch(f"reply {request.request_id}")
        ideal = self.ideal.send(*request.prompt)
        self.waiting.append(Naive(request, prompt, ideal, target=prompt.length))

    def cancel(self, one: Naive, now: float) -> None:
        if one in self.waiting:
            self.waiting.remove(one)
        elif one in self.decoding or any(one is other for other, _ in self.chunks):
            if not one.is_leaving:
                self.leaving.append(one)
            one.is_leaving = True
        else:
            if one in self.pending:
                self.pending.remove(one)
            self.leave(one, now, 0 if one.state == "loading" or one.step_loads else one.kv)

    def leave(self, one: Naive, now: float, computed: int) -> None:
        self.open.remove(one)
        assert one.handle is not None
        self.writes(self.cache.release(one.handle, now, computed), now)
        one.handle = None

    def begin_step(self, now: float) -> float | None:
        self.chunks = []
        while self.decoding and not self.has_room():
            last = self.open[-1]
            if last in self.decoding:
                self.decoding.remove(last)
            if last in self.pending:
                self.pending.remove(last)
            self.leave(last, now, 0 if last.state == "loading" or last.step_loads else last.kv)
            last.step_loads = 0
            last.kv, last.loads, last.target, last.state = 0, 0, last.prompt.length + last.out, "waiting"
            self.waiting.insert(0, last)
        for one in self.decoding:
            assert one.handle is not None
            growth = self.cache.grow(one.handle, one.kv + 1 - one.handle.tokens, now)
            assert growth.ok
            self.writes(growth.transfers, now)
        self.budget = self.group.max_batched_tokens - len(self.decoding)
        return self.fill(now)

    def has_room(self) -> bool:
        room_for = self.rules.room_for
        more = sum(room_for(one.kv + 1) - room_for(one.handle.tokens) for one in self.decoding if one.handle)
        return more <= self.cache.room_blocks

    def fill(self, now: float) -> float | None:
        short: list[Naive] = []
        while self.budget:
            if not self.pending and (short or not self.admit(now)):
                break
            if self.pending:
                one = self.pending.pop(0)
                tokens = self.chunk_tokens(one)
                if not tokens:
                    short.append(one)
                    continue
                self.budget -= tokens
                self.chunks.append((one, tokens))
                assert one.handle is not None
                self.cache.publish(one.handle, one.kv + tokens)
                self.writes(self.cache.save_state(one.handle, one.kv + tokens, now), now)
        self.pending = short + self.pending
        if not self.chunks and not self.decoding:
            return None
        cost = self.cost
        seconds = sum(tokens for _, tokens in self.chunks) / cost.prefill_tokens_per_s
        for one, tokens in self.chunks:
            # Token by token: each looks at all before it, and at half of itself.
            places = [one.kv + k + 0.5 for k in range(tokens)]
            seconds += cost.prefill_per_context_token_s * sum(places)
        if self.decoding:
            seconds += cost.decode_base_s + cost.decode_per_sequence_s * (len(self.decoding) - 1)
            seconds += cost.decode_per_context_token_s * sum(one.kv for one in self.decoding)
        if self.landings:
            seconds *= 1 + (self.transfers.step_slowdown or 0.0)
        start = until = now
        for one, _ in self.chunks:
            if one.step_loads and self.transfers.load == "block":
                start = max(start, one.land_s)
            elif one.step_loads:
                start = max(start, one.load_s + (one.land_s - one.load_s) / cost.layers)
                until = max(until, one.land_s + seconds / cost.layers)
        return max(start + seconds, until)

    def chunk_tokens(self, one: Naive) -> int:
        """Return the most that fits; with states to save, up to a block's end before the prompt's rest."""
        fits = [tokens for tokens in range(1, self.budget + 1) if one.kv + tokens <= one.target]
        size = self.rules.block_tokens
        last = one.target // size * size
        if self.states is not None and one.kv < last:
            fits = [tokens for tokens in fits if one.kv + tokens <= last and (one.kv + tokens) % size == 0]
        return max(fits, default=0)

    def admit(self, now: float) -> bool:
        if not self.waiting or len(self.open) >= self.group.max_sequences:
            return False
        one = self.waiting[0]
        match = self.cache.lookup(Prompt(one.prompt.node, one.target), now)
        admission = self.cache.admit(match, now, use_tokens=None, ideal_tokens=None)
        self.writes(admission.transfers, now)
        if admission.handle is None:
            return False
        self.waiting.pop(0)
        self.open.append(one)
        one.handle, one.kv = admission.handle, admission.used_tokens
        if one.cached is None:
            one.cached = admission.used_tokens
        one.state = "pending"
        for transfer in admission.transfers:
            if transfer.direction == "read":
                latency_s = transfer.tier.spec.read_latency_s
                if latency_s:
                    if self.transfers.load == "beside":
                        one.loads += 1
                        one.state = "loading"
                    else:
                        one.step_loads, one.load_s, one.land_s = 1, now, now + latency_s
                    self.landings.append((now + latency_s, transfer, one, admission.handle))
                else:
                    self.cache.land(transfer, now)
        if not one.loads:
            self.pending.append(one)
        return True

    def end_step(self, now: float) -> None:
        token = []
        for one in self.decoding:
            one.kv += 1
            one.out += 1
            one.times.append(now)
            if not one.is_leaving:
                token.append(Tokens(now, one.request.request_id, one.out))
        ended = []
        for one in [one for one in self.decoding if one.out == one.request.output_tokens]:
            self.decoding.remove(one)
            ended.append(one)
        for one in ended:
            self.finish(one, now)
        for one, tokens in self.chunks:
            one.kv += tokens
            if one.is_leaving:
                continue
            if one.kv < one.target:
                self.pending.insert(0, one)
                continue
            one.out += 1
            one.times.append(now)
            if one.out == 1:
                cached = one.cached or 0
                self.events.append(
                    FirstToken(now, one.request.request_id, (cached, max(one.ideal, cached)), 0)
                )  # type: ignore[arg-type]
            else:
                token.append(Tokens(now, one.request.request_id, one.out))
            if one.out == one.request.output_tokens:
                self.finish(one, now)
            else:
                one.state = "decode"
                self.decoding.append(one)
        self.chunks = []
        for one in self.leaving:
            if one.handle is not None:
                if one in self.decoding:
                    self.decoding.remove(one)
                self.leave(one, now, one.kv)
        self.leaving = []
        self.events += token

    def finish(self, one: Naive, now: float) -> None:
        if one.is_leaving:
            self.leave(one, now, one.kv)
            return
        gaps = [after - before for before, after in zip(one.times, one.times[1:], strict=False)]
        count = one.request.output_tokens
        mean = (one.times[-1] - one.times[0]) / (count - 1) if gaps else 0.0
        self.events.append(Finished(now, one.request.request_id, count, mean, max(gaps, default=0.0)))
        if one.request.echo:
            self.ideal.output(one.request.prompt, count)
        self.leave(one, now, one.kv)


@st.composite
def configs(draw: st.DrawFn) -> FleetConfig:
    block = draw(st.sampled_from([1, 4]))
    is_dyadic = draw(st.booleans())
    states = draw(st.sampled_from([None, None, *STATES]))
    ttls_s = st.sampled_from([None] if states else [None, 0.5, 2.0])
    tiers = [TierConfig(name="hbm", ttl_s=draw(ttls_s))]
    if draw(st.booleans()):
        tiers.append(
            TierConfig(
                name="dram",
                capacity_gib=draw(st.integers(4, 60)) * block * KV_BYTES / 2**30,
                inclusive=states is not None or draw(st.booleans()),
                ttl_s=draw(ttls_s),
                read_latency_s=draw(st.sampled_from([0.0, 0.125 if is_dyadic else 0.1234567])),
                transfers=TransferConfig(
                    load=draw(st.sampled_from(["beside", "block", "layers"])),
                    step_slowdown=draw(st.sampled_from([0.0, 0.5])),
                ),
            )
        )
    return FleetConfig(
        block_tokens=block,
        recompute_when_faster=False,
        cost=SimpleCostConfig(
            prefill_tokens_per_s=64.0 if is_dyadic else 61.7,
            prefill_per_context_token_s=draw(st.sampled_from([0.0, 2**-8 if is_dyadic else 0.0037])),
            decode_base_s=0.0625 if is_dyadic else 0.0713,
            decode_per_sequence_s=draw(st.sampled_from([0.0, 0.03125 if is_dyadic else 0.0131])),
            decode_per_context_token_s=draw(st.sampled_from([0.0, 2**-9 if is_dyadic else 0.00117])),
            kv_bytes_per_token=KV_BYTES,
            kv_capacity_tokens=draw(st.integers(8, 48)) * block,
            layers=4,
        ),
        replicas=(
            ReplicaGroupConfig(
                max_batched_tokens=draw(st.sampled_from([8, 33] if states else [4, 8, 33])),
                max_sequences=draw(st.integers(1, 4)),
            ),
        ),
        tiers=tuple(tiers),
        states=states,
        max_model_len=60,
    )


@st.composite
def workloads(draw: st.DrawFn) -> list[Op]:
    scale = draw(st.sampled_from([1 / 32, math.sqrt(2) / 40]))
    prompts = [root("a").extend(6), root("b").extend(3)]
    ops: list[Op] = []
    at = 0
    for number in range(draw(st.integers(1, 14))):
        at += draw(st.sampled_from([0, 0, 1, 2, 5, 16, 64]))
        if ops and draw(st.integers(0, 5)) == 0:
            ops.append(Op(at * scale, None, draw(st.integers(0, number))))
            continue
        base = prompts[draw(st.integers(0, len(prompts) - 1))]
        if draw(st.booleans()):
            base = base.branch(f"n{number}")
        prompt = base.extend(draw(st.integers(0, 15)))
        output = draw(st.integers(1, 12))
        prompts.append(prompt.extend(output))
        request = FleetRequest(
            number, f"s{number % 3}", f"s{number % 3}", prompt, output, draw(st.booleans())
        )
        ops.append(Op(at * scale, request, 0))
    return ops


def plain(event: Event) -> tuple[object, ...]:
    """Return an event's kind and whole numbers."""
    match event:
        case FirstToken(_, request_id, cache, replica):
            use = (cache.cached_tokens, cache.ideal_tokens) if isinstance(cache, CacheUse) else cache
            return "first", request_id, use, replica
        case Tokens(_, request_id, total):
            return "tokens", request_id, total
        case Finished(_, request_id, output_tokens, _, _):
            return "finished", request_id, output_tokens
        case Refused(_, request_id, _, _):
            return "refused", request_id
    raise AssertionError(event)


def in_order(events: list[Event]) -> list[tuple[object, ...]]:
    """Return the events by time, those of one time by kind."""
    return [
        (pytest.approx(event.at_s, rel=1e-9), *plain(event))
        for event in sorted(events, key=lambda event: (round(event.at_s, 7), str(plain(event))))
    ]


@settings(max_examples=40, deadline=None)
@given(config=configs(), ops=workloads())
def test_steps_that_wait_for_their_stores_are_those_of_a_slower_rank(
    config: FleetConfig, ops: list[Op]
) -> None:
    cost, (hbm, *below) = config.cost, config.tiers
    assert isinstance(cost, SimpleCostConfig)

    stored = [tier for tier in below if tier.write_mode == "write_through"]

    def found(store: StoreMode, prefill_tokens_per_s: float) -> list[tuple[object, ...]]:
        copied = {"stream_gib_per_s": STORED_PER_S * KV_BYTES / 2**30}
        tiers = []
        for tier in below:
            mode = {"store": store} if tier in stored else {}
            transfers = tier.transfers.model_copy(update={**copied, **mode})
            tiers.append(tier.model_copy(update={"transfers": transfers}))
        paced = cost.model_copy(update={"prefill_tokens_per_s": prefill_tokens_per_s})
        fleet = config.model_copy(update={"tiers": (hbm, *tiers), "cost": paced})
        return in_order(drive(fleet, ops, tokens=True, extra=[])[1])

    per_s = cost.prefill_tokens_per_s
    slower_per_s = 1 / (1 / per_s + len(stored) / STORED_PER_S)
    assert found("block", per_s) == found("beside", slower_per_s)


@settings(max_examples=150, deadline=None)
@given(config=configs(), ops=workloads())
def test_the_fleet_equals_a_loop_over_every_step(config: FleetConfig, ops: list[Op]) -> None:
    _, fast = drive(config, ops, tokens=True, extra=[])
    slow = Twin(config).run(ops)
    assert in_order(fast) == in_order(slow)
    gaps = {event.request_id: event for event in slow if isinstance(event, Finished)}
    for event in fast:
        if isinstance(event, Finished):
            twin = gaps[event.request_id]
            assert event.itl_mean_s == pytest.approx(twin.itl_mean_s, rel=1e-9)
            assert event.itl_max_s == pytest.approx(twin.itl_max_s, rel=1e-9)
        elif isinstance(event, FirstToken):
            cache = event.cache
            assert sum(cache.by_tier) == cache.cached_tokens
            assert sum(cache.lost_to) == cache.ideal_tokens - cache.cached_tokens


def test_what_decoding_took_is_out_of_the_cache_before_the_latest_is_preempted() -> None:
    config = FleetConfig(
        block_tokens=1,
        recompute_when_faster=False,
        cost=SimpleCostConfig(
            prefill_tokens_per_s=64.0,
            decode_base_s=0.0625,
            kv_bytes_per_token=KV_BYTES,
            kv_capacity_tokens=47,
        ),
        replicas=(ReplicaGroupConfig(max_batched_tokens=8, max_sequences=3),),
        tiers=(
            TierConfig(name="hbm"),
            TierConfig(name="dram", capacity_gib=5 * KV_BYTES / 2**30, inclusive=False),
        ),
        max_model_len=60,
    )
    one = root("a")
    ops = [
        Op(0.0, FleetRequest(number, "s", "s", one.extend(length), output, number == 1), 0)
        for number, (length, output) in enumerate([(20, 12), (32, 8), (40, 3)])
    ]
    assert in_order(drive(config, ops, tokens=True, extra=[])[1]) == in_order(Twin(config).run(ops))


@settings(max_examples=80, deadline=None)
@given(config=configs(), ops=workloads(), extra=st.lists(st.floats(0, 30), max_size=12))
def test_more_calls_and_token_events_change_no_event(
    config: FleetConfig, ops: list[Op], extra: list[float]
) -> None:
    _, once = drive(config, ops, tokens=False, extra=[])
    assert drive(config, ops, tokens=False, extra=extra)[1] == once
    _, streamed = drive(config, ops, tokens=True, extra=extra)
    assert [event for event in streamed if not isinstance(event, Tokens)] == once
    assert [event.at_s for event in streamed] == sorted(event.at_s for event in streamed)
