"""The caches on stretches equal a twin that keeps every block by itself, in every hit, eviction and byte."""

from __future__ import annotations

import math
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.context.tree import Node, Prompt, root
from swarm.kvcache.audit import audit
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.loss import CAUSES, Losses
from swarm.kvcache.moves import CacheRules, Handle, Transfer
from swarm.kvcache.prefix import Uses
from swarm.kvcache.tier import Tier, TierSpec

Block = tuple[Node, int]
Last = tuple[int, float]
"""The sequence number and the time of a block's last use."""


def blocks_of(node: Node, tokens: int, size: int) -> list[Block]:
    """Name the whole blocks of a prompt, one by one, by the node that holds the last token of each."""
    path = Prompt(node, tokens).path()
    names = []
    for index in range(tokens // size):
        last_token = (index + 1) * size - 1
        names += [(s.node, index) for s in path if s.start <= last_token < s.end]
    return names


class TwinTier:
    def __init__(self, spec: TierSpec) -> None:
        self.spec = spec
        self.last: dict[Block, Last] = {}
        self.hits = self.inserted = self.expired = self.evicted = self.promoted = 0
        self.offered = self.landed = self.dropped = 0

    def keeps(self, last: Last, now_s: float) -> bool:
        return self.spec.ttl_s is None or last[1] + self.spec.ttl_s >= now_s

    def note_use(self, block: Block, last: Last) -> None:
        self.last[block] = max(self.last[block], last)

    def room(self, taken: int) -> float:
        return math.inf if self.spec.capacity_blocks is None else self.spec.capacity_blocks - taken


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


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def new(self, now_s: float) -> Last:
        self.value += 1
        return self.value, now_s


class Twin:
    """One replica's hierarchy, block by block."""

    def __init__(self, tiers: list[TwinTier], rules: CacheRules, counter: Counter) -> None:
        self.tiers = tiers
        self.rules = rules
        self.counter = counter
        self.handles: list[TwinHandle] = []

    def pinned(self) -> set[Block]:
        size = self.rules.block_tokens
        return {b for h in self.handles for b in blocks_of(h.node, h.tokens, size)[: h.visible]}

    def reserved(self) -> int:
        return sum(handle.reserved for handle in self.handles)

    def room_blocks(self) -> float:
        return self.tiers[0].room(len(self.pinned()) + self.reserved())

    def lookup(self, prompt: Prompt, now_s: float) -> list[int]:
        """Return the tier that serves each block of the hit."""
        served: list[int] = []
        pinned = self.pinned()
        names = blocks_of(prompt.node, prompt.length, self.rules.block_tokens)
        for block in names[: self.rules.hit_limit(prompt.length)]:
            holders = [
                index
                for index, tier in enumerate(self.tiers)
                if block in tier.last
                and (tier.keeps(tier.last[block], now_s) or (index == 0 and block in pinned))
            ]
            if not holders:
                break
            served.append(holders[0])
        return served

    def expire(self, now_s: float) -> list[TwinTransfer]:
        moved: list[TwinTransfer] = []
        for index, tier in enumerate(self.tiers):
            pinned = self.pinned() if index == 0 else set()
            old = {b: u for b, u in tier.last.items() if b not in pinned and not tier.keeps(u, now_s)}
            for block in old:
                del tier.last[block]
            tier.expired += len(old)
            moved += self.demote(index, old, now_s)
        return moved

    def demote(self, index: int, gone: dict[Block, Last], now_s: float) -> list[TwinTransfer]:
        offers: dict[int, dict[Block, Last]] = {}
        for block, last in gone.items():
            for below in range(index + 1, len(self.tiers)):
                if self.tiers[below].keeps(last, now_s):
                    offers.setdefault(below, {})[block] = last
                    break
        return [t for below in sorted(offers) for t in self.offer(below, offers[below])]

    def offer(self, index: int, blocks: dict[Block, Last]) -> list[TwinTransfer]:
        tier = self.tiers[index]
        absent = {}
        for block, last in blocks.items():
            if block in tier.last:
                tier.note_use(block, last)
            else:
                absent[block] = last
        tier.offered += len(absent)
        return [TwinTransfer(index, absent, len(absent), None)] if absent else []

    def make_room(self, index: int, blocks: int, now_s: float) -> list[TwinTransfer]:
        tier = self.tiers[index]
        pinned = self.pinned() if index == 0 else set()
        taken = self.reserved() if index == 0 else 0
        gone = {}
        while tier.room(len(tier.last) + taken) < blocks:
            free = [b for b in tier.last if b not in pinned]
            if not free:
                break
            victim = min(free, key=lambda b: (tier.last[b][0], -b[1]))
            gone[victim] = tier.last.pop(victim)
            tier.evicted += 1
        return self.demote(index, gone, now_s)

    def admit(
        self, prompt: Prompt, now_s: float, use_tokens: int
    ) -> tuple[str, TwinHandle | None, int, list[TwinTransfer]]:
        served = self.lookup(prompt, now_s)
        moved = self.expire(now_s)
        served = served[: use_tokens // self.rules.block_tokens]
        hit = served.index(next(i for i in served if i)) if any(served) else len(served)
        room = self.rules.room_for(prompt.length)
        names = blocks_of(prompt.node, prompt.length, self.rules.block_tokens)
        hbm = self.tiers[0]
        if hbm.room(room) < 0:
            return "too_large", None, 0, moved
        if hbm.room(len(self.pinned() | set(names[:hit])) + self.reserved()) < room - hit:
            return "wait", None, 0, moved
        handle = TwinHandle(prompt.node, prompt.length)
        handle.visible = hit
        self.handles.append(handle)
        hbm.hits += hit
        reads: dict[int, int] = {}
        last = self.counter.new(now_s) if hit < len(served) else None
        for block, index in list(zip(names, served, strict=False))[hit:]:
            assert last is not None and index > 0
            tier = self.tiers[index]
            reads[index] = reads.get(index, 0) + 1
            tier.hits += 1
            if tier.spec.inclusive:
                tier.note_use(block, last)
            else:
                del tier.last[block]
                tier.promoted += 1
        for index in sorted(reads):
            moved.append(TwinTransfer(index, {}, reads[index], handle))
            handle.loads += 1
        handle.loads_end = len(served)
        moved += self.make_room(0, room - hit, now_s)
        handle.reserved = room - hit
        return "admitted", handle, len(served), moved

    def publish(self, handle: TwinHandle, tokens: int) -> None:
        end = min(tokens, handle.tokens) // self.rules.block_tokens
        names = blocks_of(handle.node, handle.tokens, self.rules.block_tokens)
        for block in names[handle.visible : end]:
            if block not in self.tiers[0].last:
                self.tiers[0].last[block] = (0, math.nan)
                self.tiers[0].inserted += 1
            handle.reserved -= 1
        handle.visible = max(handle.visible, end)

    def grow(self, handle: TwinHandle, tokens: int, now_s: float) -> tuple[bool, list[TwinTransfer]]:
        more = self.rules.room_for(handle.tokens + tokens) - self.rules.room_for(handle.tokens)
        if more > 0 and more > self.room_blocks():
            return False, []
        moved = self.make_room(0, more, now_s) if more > 0 else []
        handle.tokens += tokens
        handle.reserved += more
        return True, moved

    def release(self, handle: TwinHandle, now_s: float, computed: int) -> list[TwinTransfer]:
        self.publish(handle, computed)
        last = self.counter.new(now_s)
        self.handles.remove(handle)
        handle.is_open = False
        names = blocks_of(handle.node, handle.tokens, self.rules.block_tokens)[: handle.visible]
        for block in names:
            self.tiers[0].last[block] = last
        moved: list[TwinTransfer] = []
        for index, tier in enumerate(self.tiers):
            if index and tier.spec.inclusive:
                moved += self.offer(index, dict.fromkeys(names, last))
        return moved

    def land(self, transfer: TwinTransfer, now_s: float) -> list[TwinTransfer]:
        handle = transfer.handle
        if handle is not None:
            handle.loads -= 1
            if handle.is_open and handle.loads == 0:
                self.publish(handle, handle.loads_end * self.rules.block_tokens)
            return []
        tier = self.tiers[transfer.tier]
        tier.landed += transfer.count
        for block, last in transfer.blocks.items():
            if block in tier.last:
                tier.note_use(block, last)
            else:
                tier.last[block] = last
                tier.inserted += 1
        old = {b: u for b, u in tier.last.items() if not tier.keeps(u, now_s)}
        for block in old:
            del tier.last[block]
        tier.expired += len(old)
        moved = self.demote(transfer.tier, old, now_s)
        return moved + self.make_room(transfer.tier, 0, now_s)

    def drop(self, transfer: TwinTransfer) -> None:
        self.tiers[transfer.tier].dropped += transfer.count


class Setup(NamedTuple):
    rules: CacheRules
    specs: list[TierSpec]
    """HBM first; the lower ones are shared by both replicas, or by none."""
    replicas: int
    is_shared: bool


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
        uses, counter = Uses(), Counter()
        shared = [(Tier(spec), TwinTier(spec)) for spec in setup.specs[1:]]
        columns = [
            [(Tier(setup.specs[0]), TwinTier(setup.specs[0]))]
            + (shared if setup.is_shared else [(Tier(spec), TwinTier(spec)) for spec in setup.specs[1:]])
            for _ in range(setup.replicas)
        ]
        tiers = list(dict.fromkeys(real for column in columns for real, _ in column))
        self.losses = Losses(block_tokens=self.size, tiers=tiers)
        self.pairs = [
            Pair(
                Hierarchy(tiers=[r for r, _ in c], rules=setup.rules, uses=uses, losses=self.losses),
                Twin([t for _, t in c], setup.rules, counter),
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
                assert held == {b: math.inf if b in in_use else u[0] for b, u in twin.last.items()}
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
        assert match.by_tier == tuple(served.count(i) * self.size for i in range(tiers))
        assert pair.real.peek(prompt, self.now_s) == match.tokens == len(served) * self.size
        use_tokens = match.tokens if a % 3 else match.tokens // 2
        ideal = self.losses.ideal.send(prompt)
        admission = pair.real.admit(match, self.now_s, use_tokens=use_tokens, ideal_tokens=ideal)
        outcome, handle, used, moved = pair.twin.admit(prompt, self.now_s, use_tokens)
        assert (admission.outcome, admission.used_tokens) == (outcome, used * self.size)
        pair.moved(admission.transfers, moved)
        if admission.handle is not None and handle is not None:
            assert sum(admission.used_by_tier) == admission.used_tokens
            assert sum(admission.lost_to) == admission.ideal_tokens - admission.used_tokens
            assert min(admission.lost_to) >= 0 and len(admission.lost_to) == len(CAUSES)
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

CAPACITY = st.none() | st.integers(1, 12)
TTL = st.none() | st.sampled_from([1.0, 3.0, 8.0])


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    size = draw(st.integers(1, 5))
    rules = CacheRules(size, 10 * size, draw(st.booleans()), draw(st.booleans()))
    names = ("hbm", "dram", "nvme")[: draw(st.integers(1, 3))]
    specs = [
        TierSpec(
            name=name,
            capacity_blocks=draw(CAPACITY),
            ttl_s=draw(TTL),
            scope="replica",
            inclusive=draw(st.booleans()),
            eviction="lru",
            read_bytes_per_s=None,
            write_bytes_per_s=None,
            read_latency_s=0.0,
            write_latency_s=0.0,
            write_policy="drop",
            write_queue_bytes=1e9,
        )
        for name in names
    ]
    return Setup(rules, specs, draw(st.integers(1, 2)), draw(st.booleans()))


STEPS = st.lists(
    st.tuples(st.integers(0, len(ACTIONS) - 1), st.integers(0, 99), st.integers(0, 99)),
    min_size=20,
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(setup=setups(), steps=STEPS)
def test_every_hit_eviction_and_move_is_that_of_the_block_by_block_twin(
    setup: Setup, steps: list[tuple[int, int, int]]
) -> None:
    world = World(setup)
    for what, a, b in steps:
        world.step(what, a, b)
        world.check()
