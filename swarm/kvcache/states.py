"""A memory whose pool also holds saved states of layers that keep a state, not KV.

A model with linear layers (Mamba, gated delta nets, Kimi delta attention) can go on behind a cached prefix
only where the state after it was saved. A saved state takes pages of the same pool as KV, and both leave by
one order of last uses (vLLM's hybrid KV cache manager with `mamba_cache_mode: align`).

The state after block `i` of a path is filed as block `i` of the same node.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.context.tree import Node
from swarm.kvcache.blocks import Piece, Use, spans
from swarm.kvcache.runs import Runs
from swarm.kvcache.tier import Tier, TierSpec

RUNNING = 2
"""States that an open request has room for: the one that a step reads, and the one that it writes."""


@dataclass(frozen=True, slots=True)
class StateRules:
    """What a saved state takes, and which are saved."""

    blocks: int
    """Of the pool: a page of each group of layers that keep a state."""
    at_prompt_end_only: bool
    """Only the last state that the same prompt can hit is saved, not one at the end of each chunk."""

    @property
    def room_blocks(self) -> int:
        """What an open request needs beside its KV."""
        return RUNNING * self.blocks


class StateTier(Tier):
    """A tier that evicts KV and saved states by one LRU order."""

    __slots__ = ("state_blocks", "states")

    def __init__(self, spec: TierSpec, state_blocks: int) -> None:
        super().__init__(spec)
        self.state_blocks = state_blocks
        self.states = Runs(is_queued=True)

    @property
    def cached_blocks(self) -> int:
        """Blocks that cached KV and saved states take."""
        return self.runs.held + self.states.held * self.state_blocks

    def resume(self, node: Node, end: int, block_tokens: int) -> int:
        """Return after how many of the first `end` blocks of a path the deepest saved state is; 0: none."""
        by_node = self.states.by_node
        above: Node | None = node
        while above is not None:
            first = above.start // block_tokens
            if first < end:
                for low, high, _ in reversed(by_node.get(above, ())):
                    if low < end:
                        return high if high < end else end
                end = first
            above = above.parent
        return 0

    def touch(self, node: Node, end: int, use: Use, block_tokens: int) -> bool:
        """Let the state after block `end` - 1 have been used now; False where it is not held."""
        owner, low, high = spans(node, end - 1, end, block_tokens)[0]
        if not self.states.within(owner, low, high):
            return False
        self.states.paint(owner, low, high, use, False)
        return True

    def save(self, node: Node, end: int, use: Use, now_s: float, block_tokens: int) -> list[Piece]:
        """Hold the state after block `end` - 1 as used now, if room can be made; return the KV evicted."""
        if self.touch(node, end, use, block_tokens):
            return []
        if self.room_blocks < self.state_blocks:
            return []
        evicted = self.make_room(self.state_blocks, now_s)
        owner, low, high = spans(node, end - 1, end, block_tokens)[0]
        self.states.paint(owner, low, high, use, True)
        return evicted

    def make_room(self, blocks: int, now_s: float) -> list[Piece]:
        """Evict KV and states, the least recently used first, until `blocks` more fit; return the KV."""
        capacity = self.capacity_blocks
        evicted: list[Piece] = []
        if capacity is None:
            return evicted
        runs, states = self.runs, self.states
        held = runs.held
        short = blocks - capacity + self.cached_blocks + self.reserved
        while short > 0:
            kv, state = runs.oldest(), states.oldest()
            if state is not None and (kv is None or state.sequence < kv.sequence):
                states.evict(1)
                short -= self.state_blocks
            elif kv is not None:
                before = runs.held
                evicted += runs.evict_of(kv, short)
                short -= before - runs.held
            else:
                break
        self.counters.evicted_blocks += held - runs.held
        return evicted

    def clear(self) -> None:
        """Let go of everything that nobody is using."""
        super().clear()
        self.states.evict(self.states.held)
