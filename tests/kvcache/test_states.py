"""A pool of KV and saved states equals a list of pages that leave by last use, as vLLM's free queue does."""

from __future__ import annotations

import random

import pytest

from swarm.context.tree import Node, Prompt, root
from swarm.hit_names import LOST_TO
from swarm.kvcache.audit import audit
from swarm.kvcache.blocks import Uses
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.loss import Losses
from swarm.kvcache.policy import WRITE_THROUGH
from swarm.kvcache.requests import Handle
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.states import StateRules, StateTier
from swarm.kvcache.tier import TierSpec

Named = tuple[Node, int]
"""A block by who owns it and its index, or the state after it."""


def names_of(prompt: Prompt, size: int) -> list[Named]:
    """Name a prompt's whole blocks, each by the node that holds its last token."""
    path = prompt.path()
    return [
        next((s.node, index) for s in path if s.start < (index + 1) * size <= s.end)
        for index in range(prompt.length // size)
    ]


class Open:
    """A request in the twin."""

    def __init__(self, prompt: Prompt, hit: int, reserved: int) -> None:
        self.prompt = prompt
        self.visible = hit
        self.saved = hit
        self.reserved = reserved
        self.last = prompt.length - 1


class Pages:
    """Every page by itself: a number says when it was last used, an infinite one that it is in use."""

    def __init__(self, capacity: int, rules: CacheRules, states: StateRules) -> None:
        self.capacity, self.rules, self.rule = capacity, rules, states
        self.size = rules.block_tokens
        self.kv: dict[Named, int] = {}
        self.states: dict[Named, int] = {}
        self.open: list[Open] = []
        self.clock = 0

    def pinned(self) -> set[Named]:
        return {b for one in self.open for b in names_of(one.prompt, self.size)[: one.visible]}

    def taken(self) -> int:
        return len(self.kv) + self.rule.blocks * len(self.states) + sum(one.reserved for one in self.open)

    def evict(self, blocks: int) -> None:
        """Let the least recently used go, a state whole, the deepest KV of a use first."""
        while self.taken() + blocks > self.capacity:
            pinned = self.pinned()
            pages = [
                (used, -block[1], self.kv, block) for block, used in self.kv.items() if block not in pinned
            ]
            pages += [(used, 0, self.states, block) for block, used in self.states.items()]
            if not pages:
                return
            _, _, kind, block = min(pages, key=lambda page: page[:2])
            del kind[block]

    def room(self) -> int:
        return self.capacity - len(self.pinned()) - sum(one.reserved for one in self.open)

    def lookup(self, prompt: Prompt) -> int:
        names = names_of(prompt, self.size)[: self.rules.hit_limit(prompt.length)]
        reach = next((i for i, block in enumerate(names) if block not in self.kv), len(names))
        return max((i + 1 for i, block in enumerate(names[:reach]) if block in self.states), default=0)

    def save(self, prompt: Prompt, end: int) -> None:
        block = names_of(prompt, self.size)[end - 1]
        self.clock += 1
        if block not in self.states:
            if self.room() < self.rule.blocks:
                return
            self.evict(self.rule.blocks)
        self.states[block] = self.clock

    def admit(self, prompt: Prompt) -> Open | None:
        hit = self.lookup(prompt)
        room = self.rules.room_for(prompt.length) + self.rule.room_blocks
        names = names_of(prompt, self.size)
        new = room - len(self.pinned() & set(names[:hit]))
        if new > self.room():
            return None
        one = Open(prompt, hit, 0)
        self.open.append(one)
        if hit:
            self.save(prompt, hit)
        self.evict(room - hit)
        one.reserved = room - hit
        return one

    def publish(self, one: Open, tokens: int) -> None:
        end = min(tokens, one.prompt.length) // self.size
        for block in names_of(one.prompt, self.size)[one.visible : end]:
            self.kv.setdefault(block, 0)
            one.reserved -= 1
        one.visible = max(one.visible, end)

    def chunk(self, one: Open, tokens: int) -> None:
        """Compute up to so many tokens of a prompt."""
        self.publish(one, tokens)
        end = tokens // self.size
        if tokens % self.size or end <= one.saved:
            return
        one.saved = end
        if not self.rule.at_prompt_end_only or end == self.rules.hit_limit(one.last + 1):
            self.save(one.prompt, end)

    def release(self, one: Open, tokens: int) -> None:
        self.publish(one, tokens)
        first = max(one.saved, self.rules.hit_limit(one.last + 1)) + 1
        for end in range(first, tokens // self.size + 1):
            self.chunk(one, end * self.size)
        self.clock += 1
        self.open.remove(one)
        for block in names_of(one.prompt, self.size)[: one.visible]:
            self.kv[block] = self.clock


class World:
    """The same pool twice."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        size = chance.randint(1, 4)
        rules = CacheRules(size, size, True, True)
        states = StateRules(blocks=chance.randint(1, 3), at_prompt_end_only=chance.random() < 0.5)
        capacity = chance.randint(8, 40)
        spec = TierSpec(
            name="hbm",
            capacity_blocks=capacity,
            ttl_s=None,
            scope="replica",
            inclusive=True,
            policy=WRITE_THROUGH,
            read_bytes_per_s=None,
            write_bytes_per_s=None,
            read_latency_s=0.0,
            write_latency_s=0.0,
            write_policy="drop",
            write_queue_bytes=1e9,
        )
        self.tier = StateTier(spec, states.blocks)
        self.losses = Losses(block_tokens=size, tiers=[self.tier], asked=[self.tier])
        self.real = Hierarchy(tiers=[self.tier], rules=rules, uses=Uses(), losses=self.losses, states=states)
        self.twin = Pages(capacity, rules, states)
        self.size = size
        self.prompts = [root("r0").extend(3 * size)]
        self.open: list[tuple[Handle, Open]] = []

    def step(self) -> None:
        chance = self.chance
        what = chance.random()
        if what < 0.15:
            base = chance.choice(self.prompts)
            at = Prompt(base.node, chance.randint(1, base.length))
            self.prompts.append(at.branch(f"n{len(self.prompts)}").extend(chance.randint(1, 3 * self.size)))
        elif what < 0.3:
            index = chance.randrange(len(self.prompts))
            self.prompts[index] = self.prompts[index].extend(chance.randint(1, 2 * self.size))
        elif what < 0.65:
            self.request(chance.choice(self.prompts))
        elif self.open:
            real, twin = chance.choice(self.open)
            if what < 0.8:
                tokens = min(twin.last + 1, (twin.visible + chance.randint(0, 3)) * self.size)
                self.real.publish(real, tokens)
                self.real.save_state(real, tokens, 0.0)
                self.twin.chunk(twin, tokens)
            else:
                self.open.remove((real, twin))
                more = chance.randint(0, 3 * self.size) if twin.visible * self.size > twin.last else 0
                growth = self.real.grow(real, more, 0.0)
                if growth.ok:
                    blocks = self.twin.rules.room_for(twin.prompt.length + more)
                    blocks -= self.twin.rules.room_for(twin.prompt.length)
                    self.twin.evict(blocks)
                    twin.reserved += blocks
                    twin.prompt = Prompt(twin.prompt.node, twin.prompt.length + more)
                computed = twin.prompt.length if more and growth.ok else twin.visible * self.size
                self.real.release(real, 0.0, computed)
                self.twin.release(twin, computed)

    def request(self, prompt: Prompt) -> None:
        match = self.real.lookup(prompt, 0.0)
        assert match.tokens == self.twin.lookup(prompt) * self.size
        ideal = self.losses.ideal.send(*prompt)
        admission = self.real.admit(match, 0.0, use_tokens=None, ideal_tokens=ideal)
        if admission.outcome == "too_large":
            return
        twin = self.twin.admit(prompt)
        assert (admission.handle is None) == (twin is None)
        if admission.handle is not None and twin is not None:
            assert sum(admission.lost_to) == admission.ideal_tokens - admission.used_tokens
            lost = dict(zip(LOST_TO, admission.lost_to, strict=True))
            assert not lost["routing"] and not lost["dropped_write"] and not lost["ttl"]
            self.open.append((admission.handle, twin))

    def check(self) -> None:
        audit([self.real], [(self.real, handle) for handle, _ in self.open])
        for runs, twin in ((self.tier.runs, self.twin.kv), (self.tier.states, self.twin.states)):
            held = {
                (node, index)
                for node, stretches in runs.by_node.items()
                for start, end, _ in stretches
                for index in range(start, end)
            }
            assert held == set(twin)
        assert self.tier.cached_blocks + self.tier.reserved == self.twin.taken()


@pytest.mark.parametrize("seed", range(150))
def test_a_drawn_history_is_that_of_a_list_of_pages(seed: int) -> None:
    world = World(random.Random(seed))
    for _ in range(150):
        world.step()
        world.check()


def test_a_hit_goes_on_from_the_deepest_state_alone() -> None:
    world = World(random.Random(0))
    rules = CacheRules(4, 4, True, True)
    tier = StateTier(world.tier.spec, 2)
    cache = Hierarchy(
        tiers=[tier],
        rules=rules,
        uses=Uses(),
        losses=None,
        states=StateRules(blocks=2, at_prompt_end_only=False),
    )
    prompt = root("a").extend(22)
    handle = cache.admit(cache.lookup(prompt, 0.0), 0.0, use_tokens=None, ideal_tokens=None).handle
    assert handle is not None
    for tokens in (12, 20, 22):
        cache.publish(handle, tokens)
        cache.save_state(handle, tokens, 0.0)
    cache.release(handle, 0.0, 22)
    hits = [cache.peek(Prompt(prompt.node, length), 0.0) for length in (11, 13, 16, 20, 21, 22)]
    assert hits == [0, 12, 12, 12, 20, 20]
