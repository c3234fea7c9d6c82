"""The caches on stretches equal a twin that keeps every block by itself, in every hit, eviction and byte."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import NamedTuple, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.context.tree import Node, Prompt, root
from swarm.hit_names import LOST_TO, TIERS, TierName
from swarm.kvcache.audit import audit
from swarm.kvcache.blocks import PINNED, Uses
from swarm.kvcache.evictions import EVICTIONS, new_tier
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.loss import Losses
from swarm.kvcache.policy import WRITE_BACK, WRITE_THROUGH, TierPolicy, Watermark, WriteMode
from swarm.kvcache.requests import Handle, Transfer
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.tier import TierSpec
from tests.kvcache.twin_tiers import FOREVER, Block, Last, TwinTier, twin_of


def blocks_of(node: Node, tokens: int, size: int) -> list[Block]:
    """Name the whole blocks of a prompt, one by one, by the node that holds the last token of each."""
    path = Prompt(node, tokens).path()
    names = []
    for index in range(tokens // size):
        last_token = (index + 1) * size - 1
        names += [(s.node, index) for s in path if s.start <= last_token < s.end]
    return names


class TwinHandle:
    def __init__(self, node: Node, tokens: int) -> None:
        self.node = node
        self.tokens = tokens
        self.visible = 0
        self.reserved = 0
        self.loads = 0
        self.loads_end = 0
        self.is_open = True


class TwinTransfer:
    def __init__(self, tier: int, blocks: dict[Block, Last], count: int, handle: TwinHandle | None) -> None:
        self.tier = tier
        self.blocks = blocks
        self.count = count
        self.handle = handle


class History:
    """What has happened to each block in the whole fleet."""

    def __init__(self) -> None:
        self.uses_count = 0
        self.sent: set[Block] = set()
        self.published: set[Block] = set()
        self.asked: set[int] = set()
        """The tiers that requests could hit in, wherever they are sent."""
        self.entered: set[Block] = set()
        """What has been in one of those that computes."""
        self.released_s: dict[Block, float] = {}
        self.dropped_by: dict[Block, list[TwinTier]] = {}
        self.moving: list[Block] = []

    def new_use(self, now_s: float) -> Last:
        self.uses_count += 1
        return self.uses_count, now_s


class Twin:
    """One replica's hierarchy, block by block."""

    def __init__(self, tiers: list[TwinTier], rules: CacheRules, history: History) -> None:
        self.tiers = tiers
        self.rules = rules
        self.history = history
        self.handles: list[TwinHandle] = []
        self.used: dict[Block, int] = {}
        """How often what HBM holds was used since it came."""

    def pinned(self) -> set[Block]:
        size = self.rules.block_tokens
        return {b for h in self.handles for b in blocks_of(h.node, h.tokens, size)[: h.visible]}

    def reserved(self) -> int:
        return sum(handle.reserved for handle in self.handles)

    def room_blocks(self) -> float:
        return self.tiers[0].room(len(self.pinned() | self.tiers[0].permanent) + self.reserved())

    def lookup(self, prompt: Prompt, now_s: float) -> list[int]:
        """Return the tier that serves each block of the hit."""
        served: list[int] = []
        pinned = self.pinned()
        names = blocks_of(prompt.node, prompt.length, self.rules.block_tokens)
        for block in names[: self.rules.hit_limit(prompt.length)]:
            holders = self.holders(block, pinned, now_s)
            if not holders:
                break
            served.append(holders[0])
        return served

    def holders(self, block: Block, pinned: set[Block], now_s: float) -> list[int]:
        return [
            index
            for index, tier in enumerate(self.tiers)
            if block in tier.last
            and (tier.keeps(tier.last[block], now_s) or (index == 0 and block in pinned))
        ]

    def losses(
        self, prompt: Prompt, ideal: int, used: int, fleet: list[Twin], now_s: float
    ) -> tuple[int, ...]:
        """Split ideal minus used blocks by the leading runs that each cause leaves."""
        names = blocks_of(prompt.node, prompt.length, self.rules.block_tokens)
        history = self.history
        held = len(self.lookup(prompt, now_s))

        def run(end: int, survives: Callable[[Block], bool]) -> int:
            return next((i for i in range(held, end) if not survives(names[i])), max(held, end))

        in_fleet = {b for twin in fleet for b in names if twin.holders(b, twin.pinned(), now_s)}
        asked = {
            b
            for twin in fleet
            for b in names
            if any(id(twin.tiers[k]) in history.asked for k in twin.holders(b, twin.pinned(), now_s))
        }
        entered = next((i for i, b in enumerate(names) if b not in history.entered), len(names))

        def is_somewhere(block: Block) -> bool:
            dropped_by = history.dropped_by.get(block, [])
            if names.index(block) < entered:
                return block in asked or any(id(tier) in history.asked for tier in dropped_by)
            return block in in_fleet or bool(dropped_by)

        in_reach = {b for b in names if self.holders(b, self.pinned(), now_s)}
        ttls = [tier.spec.ttl_s for tier in self.tiers]
        ttl_s = math.inf if None in ttls else max(ttl for ttl in ttls if ttl is not None)
        usable = max(held, min(ideal, self.rules.hit_limit(prompt.length)))
        visible = run(usable, lambda b: b in history.published)
        somewhere = run(visible, is_somewhere)
        if somewhere < visible and names[somewhere] in history.moving:
            visible = somewhere
        alive = run(
            visible,
            lambda b: (
                b in in_fleet or history.released_s.get(b, -math.inf) + ttl_s >= now_s or ttl_s == math.inf
            ),
        )
        somewhere = min(somewhere, alive)
        mine = run(
            somewhere, lambda b: b in in_reach or any(t in self.tiers for t in history.dropped_by.get(b, []))
        )
        evicted = any(tier.evicted for twin in fleet for tier in twin.tiers)
        gone = alive - somewhere
        return (
            ideal - usable,
            usable - visible,
            visible - alive,
            gone if evicted else 0,
            somewhere - mine,
            mine - held,
            held - used,
            0 if evicted else gone,
        )

    def expire(self, now_s: float) -> list[TwinTransfer]:
        moved: list[TwinTransfer] = []
        for index, tier in reversed(list(enumerate(self.tiers))):
            pinned = self.pinned() if index == 0 else set()
            old = {b: u for b, u in tier.last.items() if b not in pinned and not tier.keeps(u, now_s)}
            for block in old:
                tier.remove(block)
                if index == 0:
                    self.used.pop(block, None)
            tier.expired += len(old)
            moved += self.demote(index, old, now_s)
        return moved

    def demote(self, index: int, gone: dict[Block, Last], now_s: float) -> list[TwinTransfer]:
        offers: dict[int, dict[Block, Last]] = {}
        for block, last in gone.items():
            for below in range(index + 1, len(self.tiers)):
                tier = self.tiers[below]
                if tier.spec.policy.write == "write_through_selective":
                    if block in tier.last:
                        tier.note_use(block, last)
                        break
                    if block in tier.coming:
                        tier.coming[block] = max(tier.coming[block], last)
                        break
                elif tier.keeps(last, now_s):
                    offers.setdefault(below, {})[block] = last
                    break
        return [t for below in sorted(offers) for t in self.offer(below, offers[below])]

    def offer(self, index: int, blocks: dict[Block, Last]) -> list[TwinTransfer]:
        tier = self.tiers[index]
        absent = {}
        for block, last in blocks.items():
            if block in tier.last:
                tier.note_use(block, last)
            elif block in tier.coming:
                tier.coming[block] = max(tier.coming[block], last)
            else:
                absent[block] = tier.coming[block] = last
        tier.offered += len(absent)
        self.history.moving += absent
        return [TwinTransfer(index, absent, len(absent), None)] if absent else []

    def make_room(self, index: int, blocks: int, now_s: float) -> list[TwinTransfer]:
        tier = self.tiers[index]
        pinned = self.pinned() if index == 0 else set()
        taken = self.reserved() if index == 0 else 0
        gone = tier.victims(blocks, taken, pinned, now_s)
        if index == 0:
            for block in gone:
                self.used.pop(block, None)
        return self.demote(index, gone, now_s)

    def admit(
        self, prompt: Prompt, now_s: float, use_tokens: int, moved: list[TwinTransfer]
    ) -> tuple[str, TwinHandle | None, int]:
        served = self.lookup(prompt, now_s)[: use_tokens // self.rules.block_tokens]
        hit = served.index(next(i for i in served if i)) if any(served) else len(served)
        room = self.rules.room_for(prompt.length)
        names = blocks_of(prompt.node, prompt.length, self.rules.block_tokens)
        hbm = self.tiers[0]
        if hbm.room(room) < hbm.spec.policy.pin_limit:
            return "too_large", None, 0
        taken = self.pinned() | hbm.permanent | set(names[:hit])
        if hbm.room(len(taken) + self.reserved()) < room - hit:
            return "wait", None, 0
        handle = TwinHandle(prompt.node, prompt.length)
        handle.visible = hit
        self.handles.append(handle)
        hbm.hits += hit
        reads: dict[int, int] = {}
        last = self.history.new_use(now_s) if hit < len(served) else None
        for block, index in list(zip(names, served, strict=False))[hit:]:
            assert last is not None and index > 0
            tier = self.tiers[index]
            reads[index] = reads.get(index, 0) + 1
            tier.hits += 1
            if tier.spec.inclusive:
                tier.note_use(block, last)
            else:
                tier.remove(block)
                tier.promoted += 1
        for index in sorted(reads):
            moved.append(TwinTransfer(index, {}, reads[index], handle))
            handle.loads += 1
        handle.loads_end = len(served)
        moved += self.make_room(0, room - hit, now_s)
        handle.reserved = room - hit
        return "admitted", handle, len(served)

    def publish(self, handle: TwinHandle, tokens: int) -> None:
        end = min(tokens, handle.tokens) // self.rules.block_tokens
        names = blocks_of(handle.node, handle.tokens, self.rules.block_tokens)
        for block in names[handle.visible : end]:
            if block not in self.tiers[0].last:
                self.tiers[0].last[block] = (0, math.nan)
                self.tiers[0].inserted += 1
            handle.reserved -= 1
            self.history.published.add(block)
            if id(self.tiers[0]) in self.history.asked:
                self.history.entered.update(names[:end])
            self.history.dropped_by.pop(block, None)
        handle.visible = max(handle.visible, end)

    def grow(self, handle: TwinHandle, tokens: int, now_s: float) -> tuple[bool, list[TwinTransfer]]:
        more = self.rules.room_for(handle.tokens + tokens) - self.rules.room_for(handle.tokens)
        if more > 0 and more > self.room_blocks():
            return False, []
        moved = self.expire(now_s) + self.make_room(0, more, now_s) if more > 0 else []
        handle.tokens += tokens
        handle.reserved += more
        return True, moved

    def release(self, handle: TwinHandle, now_s: float, computed: int) -> list[TwinTransfer]:
        moved = self.expire(now_s)
        self.publish(handle, computed)
        last = self.history.new_use(now_s)
        self.handles.remove(handle)
        handle.is_open = False
        names = blocks_of(handle.node, handle.tokens, self.rules.block_tokens)[: handle.visible]
        for block in names:
            self.tiers[0].last[block] = last
            self.history.released_s[block] = now_s
            self.used[block] = self.used.get(block, 0) + 1
        self.make_permanent(names)
        for index, tier in enumerate(self.tiers):
            if index and tier.spec.policy.write == "write_through":
                moved += self.offer(index, dict.fromkeys(names, last))
        for index, tier in enumerate(self.tiers):
            if index and tier.spec.policy.write == "write_through_selective":
                often = [b for b in names if self.used[b] >= tier.spec.policy.write_threshold]
                assert often == names[: len(often)]
                moved += self.offer(index, dict.fromkeys(often, last))
        return moved

    def make_permanent(self, names: list[Block]) -> None:
        hbm = self.tiers[0]
        for block in names[: hbm.spec.policy.pin_blocks]:
            if block not in hbm.permanent:
                if len(hbm.permanent) == hbm.spec.policy.pin_limit:
                    break
                hbm.permanent.add(block)
            hbm.last[block] = FOREVER

    def land(self, transfer: TwinTransfer, now_s: float) -> list[TwinTransfer]:
        handle = transfer.handle
        if handle is not None:
            handle.loads -= 1
            if handle.is_open and handle.loads == 0:
                self.publish(handle, handle.loads_end * self.rules.block_tokens)
            return []
        tier = self.tiers[transfer.tier]
        tier.begin_landing()
        for block in sorted(transfer.blocks, key=lambda b: (transfer.blocks[b][0], b[1])):
            self.history.moving.remove(block)
            if tier.land(block, tier.coming.pop(block), now_s):
                tier.landed += 1
            else:
                tier.dropped += 1
                self.history.dropped_by.setdefault(block, []).append(tier)
        moved = self.expire(now_s)
        return moved + self.make_room(transfer.tier, 0, now_s)

    def drop(self, transfer: TwinTransfer) -> None:
        self.tiers[transfer.tier].dropped += transfer.count
        for block in transfer.blocks:
            del self.tiers[transfer.tier].coming[block]
            self.history.moving.remove(block)
            self.history.dropped_by.setdefault(block, []).append(self.tiers[transfer.tier])


class Setup(NamedTuple):
    rules: CacheRules
    specs: list[TierSpec]
    """HBM first; the lower ones are shared by both replicas, or by none."""
    replicas: int
    is_shared: bool
    decoders: int
    """The last ones, which no request is sent to."""


class Pair:
    """The same replica twice, with its open requests and what is being moved."""

    def __init__(self, real: Hierarchy, twin: Twin) -> None:
        self.real = real
        self.twin = twin
        self.handles: list[tuple[Handle, TwinHandle]] = []
        self.moves: list[tuple[Transfer, TwinTransfer]] = []

    def moved(self, transfers: list[Transfer], twins: list[TwinTransfer]) -> None:
        assert [describe(t, self.real) for t in transfers] == [twin_description(t, self.twin) for t in twins]
        self.moves += zip(transfers, twins, strict=True)


def describe(transfer: Transfer, owner: Hierarchy) -> tuple[object, ...]:
    blocks = {
        (node, index): (use.sequence, use.at_s)
        for node, start, end, use in transfer.pieces
        for index in range(start, end)
    }
    assert transfer.bytes == transfer.blocks * owner.rules.block_bytes
    return transfer.tier_index, transfer.direction, transfer.blocks, blocks


def twin_description(transfer: TwinTransfer, _: Twin) -> tuple[object, ...]:
    return transfer.tier, "read" if transfer.handle else "write", transfer.count, transfer.blocks


class World:
    """Replicas and their twins, driven by small integers."""

    def __init__(self, setup: Setup) -> None:
        self.size = setup.rules.block_tokens
        uses, self.history = Uses(), History()
        shared = [(new_tier(spec), twin_of(spec)) for spec in setup.specs[1:]]
        columns = [
            [(new_tier(setup.specs[0]), twin_of(setup.specs[0]))]
            + (shared if setup.is_shared else [(new_tier(spec), twin_of(spec)) for spec in setup.specs[1:]])
            for _ in range(setup.replicas)
        ]
        tiers = list(dict.fromkeys(real for column in columns for real, _ in column))
        sent_to = columns[: -setup.decoders] if setup.decoders else columns
        asked = list(dict.fromkeys(real for column in sent_to for real, _ in column))
        self.history.asked = {id(twin) for column in sent_to for _, twin in column}
        self.losses = Losses(block_tokens=self.size, tiers=tiers, asked=asked)
        self.pairs = [
            Pair(
                Hierarchy(
                    tiers=[r for r, _ in c], rules=setup.rules, uses=uses, losses=self.losses, states=None
                ),
                Twin([t for _, t in c], setup.rules, self.history),
            )
            for c in columns
        ]
        self.prompts = [root("r0").extend(3 * self.size)]
        self.now_s = 0.0

    def check(self) -> None:
        audit([p.real for p in self.pairs], [(p.real, real) for p in self.pairs for real, _ in p.handles])
        for pair in self.pairs:
            assert pair.real.room_blocks == pair.twin.room_blocks()
            pinned = pair.twin.pinned()
            for index, (real, twin) in enumerate(zip(pair.real.tiers, pair.twin.tiers, strict=True)):
                held = {
                    (node, block): use.sequence
                    for node, runs in real.runs.by_node.items()
                    for start, end, use in runs
                    for block in range(start, end)
                }
                in_use = pinned if index == 0 else set()
                assert held == {b: PINNED.sequence if b in in_use else u[0] for b, u in twin.last.items()}
                counters = real.counters
                assert (
                    counters.hit_blocks,
                    counters.inserted_blocks,
                    counters.expired_blocks,
                    counters.evicted_blocks,
                    counters.promoted_blocks,
                    counters.offered_blocks,
                    counters.landed_blocks,
                    counters.dropped_blocks,
                ) == (
                    twin.hits,
                    twin.inserted,
                    twin.expired,
                    twin.evicted,
                    twin.promoted,
                    twin.offered,
                    twin.landed,
                    twin.dropped,
                )

    def step(self, what: int, a: int, b: int) -> None:
        pair = self.pairs[a % len(self.pairs)]
        action = ACTIONS[what % len(ACTIONS)]
        if action == "branch":
            place = self.prompts[a % len(self.prompts)]
            at = Prompt(place.node, 1 + b % place.length) if place.length else place
            child = at.branch(f"n{len(self.prompts)}").extend(1 + (a + b) % (3 * self.size))
            self.prompts.append(child)
        elif action == "extend":
            index = a % len(self.prompts)
            self.prompts[index] = self.prompts[index].extend(1 + b % (2 * self.size))
        elif action == "root":
            self.prompts.append(root(f"r{len(self.prompts)}").extend(1 + b % (4 * self.size)))
        elif action == "wait":
            self.now_s += b % 4
        elif action == "request":
            self.request(pair, self.prompts[b % len(self.prompts)], a)
        elif action == "publish" and pair.handles:
            real, twin = pair.handles[b % len(pair.handles)]
            tokens = twin.visible * self.size + a % (3 * self.size)
            pair.real.publish(real, tokens)
            pair.twin.publish(twin, tokens)
        elif action == "grow" and pair.handles:
            real, twin = pair.handles[b % len(pair.handles)]
            growth = pair.real.grow(real, a % (2 * self.size), self.now_s)
            ok, moved = pair.twin.grow(twin, a % (2 * self.size), self.now_s)
            assert growth.ok == ok
            pair.moved(growth.transfers, moved)
        elif action == "release" and pair.handles:
            real, twin = pair.handles.pop(b % len(pair.handles))
            computed = max(0, twin.tokens - a % 3)
            transfers = pair.real.release(real, self.now_s, computed)
            pair.moved(transfers, pair.twin.release(twin, self.now_s, computed))
        elif action == "abort" and pair.handles:
            real, twin = pair.handles.pop(b % len(pair.handles))
            transfers = pair.real.abort(real, self.now_s)
            pair.moved(transfers, pair.twin.release(twin, self.now_s, 0))
        elif action == "land" and pair.moves:
            transfer, twin_move = pair.moves.pop(b % len(pair.moves))
            transfers = pair.real.land(transfer, self.now_s)
            pair.moved(transfers, pair.twin.land(twin_move, self.now_s))
        elif action == "drop" and pair.moves and pair.moves[-1][0].direction == "write":
            transfer, twin_move = pair.moves.pop()
            pair.real.drop(transfer)
            pair.twin.drop(twin_move)

    def request(self, pair: Pair, prompt: Prompt, a: int) -> None:
        served = pair.twin.lookup(prompt, self.now_s)
        match = pair.real.lookup(prompt, self.now_s)
        tiers = len(pair.real.tiers)
        assert match.by_tier == [served.count(i) * self.size for i in range(tiers)]
        assert pair.real.peek(prompt, self.now_s) == match.tokens == len(served) * self.size
        use_tokens = match.tokens if a % 3 else match.tokens // 2
        names = blocks_of(prompt.node, prompt.length, self.size)
        known = next((i for i, b in enumerate(names) if b not in self.history.sent), len(names))
        assert self.losses.ideal.peek(prompt) == known * self.size
        assert self.losses.ideal.send(*prompt) == known * self.size
        self.history.sent.update(names)
        fleet = [other.twin for other in self.pairs]
        admission = pair.real.admit(match, self.now_s, use_tokens=use_tokens, ideal_tokens=known * self.size)
        moved = pair.twin.expire(self.now_s)
        served = pair.twin.lookup(prompt, self.now_s)
        use_tokens = min(use_tokens, len(served) * self.size)
        ideal = max(known, len(served))
        lost = pair.twin.losses(prompt, ideal, use_tokens // self.size, fleet, self.now_s)
        outcome, handle, used = pair.twin.admit(prompt, self.now_s, use_tokens, moved)
        assert (admission.outcome, admission.used_tokens) == (outcome, used * self.size)
        pair.moved(admission.transfers, moved)
        if admission.handle is not None and handle is not None:
            assert sum(admission.used_by_tier) == admission.used_tokens
            assert admission.ideal_tokens == ideal * self.size
            assert sum(admission.lost_to) == admission.ideal_tokens - admission.used_tokens
            assert admission.lost_to == tuple(blocks * self.size for blocks in lost)
            assert len(lost) == len(LOST_TO)
            pair.handles.append((admission.handle, handle))


ACTIONS = (
    "request",
    "request",
    "request",
    "branch",
    "extend",
    "extend",
    "root",
    "wait",
    "publish",
    "grow",
    "release",
    "release",
    "abort",
    "land",
    "land",
    "land",
    "drop",
)

CAPACITIES = (None, 1, 3, 5, 8, 12)
TTLS_S = (None, None, 1.0, 3.0, 8.0)
WRITES: tuple[WriteMode, ...] = get_args(WriteMode)
RATIOS = (0.1, 0.3, 0.5, 0.8, 1.0)


def plain(chance: random.Random, name: TierName, capacity_blocks: int | None, inclusive: bool) -> TierPolicy:
    return WRITE_THROUGH if inclusive else WRITE_BACK


def drawn(chance: random.Random, name: TierName, capacity_blocks: int | None, inclusive: bool) -> TierPolicy:
    """Return any policy that a tier may have."""
    watermark = None
    eviction = "lru" if name == "hbm" else chance.choice(list(EVICTIONS))
    if eviction == "watermark":
        watermark = Watermark(
            high_ratio=chance.choice(RATIOS),
            evict_ratio=chance.choice(RATIOS),
            lease_s=chance.choice((0.0, 1.0, 4.0)),
            soft_pin_blocks=chance.choice((0, 1, 3)),
            soft_pin_s=chance.choice((0.0, 2.0, 30.0)),
        )
    pin_blocks = chance.choice((0, 0, 1, 2, 4))
    return TierPolicy(
        eviction=eviction,
        watermark=watermark,
        pin_blocks=pin_blocks,
        pin_limit=chance.choice((0, 1, 3)) if pin_blocks and capacity_blocks not in (None, 1, 3) else 0,
        write=chance.choice(WRITES) if inclusive else "write_back",
        write_threshold=chance.choice((2, 3)),
    )


def tier_spec(
    name: TierName, capacity_blocks: int | None, ttl_s: float | None, inclusive: bool, policy: TierPolicy
) -> TierSpec:
    return TierSpec(
        name=name,
        capacity_blocks=capacity_blocks,
        ttl_s=ttl_s,
        scope="replica",
        inclusive=inclusive,
        policy=policy,
        read_bytes_per_s=None,
        write_bytes_per_s=None,
        read_latency_s=0.0,
        write_latency_s=0.0,
        write_policy="drop",
        write_queue_bytes=1e9,
    )


Policies = Callable[[random.Random, TierName, int | None, bool], TierPolicy]


def a_setup(chance: random.Random, policies: Policies) -> Setup:
    size = chance.randint(1, 5)
    rules = CacheRules(size, 10 * size, chance.random() < 0.5, chance.random() < 0.5)
    specs = []
    for name in TIERS[: chance.randint(1, 4)]:
        capacity, inclusive = chance.choice(CAPACITIES), chance.random() < 0.5
        policy = policies(chance, name, capacity, inclusive)
        specs.append(tier_spec(name, capacity, chance.choice(TTLS_S), inclusive, policy))
    replicas = chance.randint(1, 3)
    return Setup(rules, specs, replicas, chance.random() < 0.7, chance.randint(0, replicas - 1))


def run(setup: Setup, steps: list[tuple[int, int, int]]) -> World:
    world = World(setup)
    for what, a, b in steps:
        world.step(what, a, b)
        world.check()
    return world


@settings(max_examples=100, deadline=None)
@given(
    chance=st.randoms(use_true_random=False),
    policies=st.sampled_from([plain, drawn]),
    steps=st.lists(
        st.tuples(st.integers(0, len(ACTIONS) - 1), st.integers(0, 99), st.integers(0, 99)),
        min_size=20,
        max_size=120,
    ),
)
def test_every_hit_move_and_loss_is_that_of_the_block_by_block_twin(
    chance: random.Random, policies: Policies, steps: list[tuple[int, int, int]]
) -> None:
    run(a_setup(chance, policies), steps)


def long_history(seed: int, policies: Policies) -> World:
    chance = random.Random(seed)
    setup = a_setup(chance, policies)
    steps = [
        (chance.randrange(len(ACTIONS)), chance.randrange(100), chance.randrange(100))
        for _ in range(chance.randint(50, 200))
    ]
    return run(setup, steps)


@pytest.mark.parametrize("policies", [plain, drawn])
@pytest.mark.parametrize("seed", range(200))
def test_a_long_drawn_history_is_that_of_the_block_by_block_twin(seed: int, policies: Policies) -> None:
    long_history(seed, policies)
