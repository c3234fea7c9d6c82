"""One memory that holds KV blocks: what it can do, what it holds, what it has counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarm.context.tree import Node
from swarm.hit_names import TierName
from swarm.kvcache.blocks import PERMANENT, Piece, Use
from swarm.kvcache.policy import TierPolicy
from swarm.kvcache.runs import Runs


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One instance of a tier. The room counts by it; bandwidths and latencies are the fleet's to spend."""

    name: TierName
    capacity_blocks: int | None
    ttl_s: float | None
    """Counts from a block's last use, whatever tier it was in then; held while age <= ttl."""
    scope: Literal["rank", "replica", "node", "cluster"]
    inclusive: bool
    """Keeps its copy of what is promoted."""
    policy: TierPolicy
    read_bytes_per_s: float | None
    write_bytes_per_s: float | None
    read_latency_s: float
    write_latency_s: float
    write_policy: Literal["drop", "block"]
    write_queue_bytes: float


@dataclass(slots=True)
class TierCounters:
    """Blocks and bytes since the start: inserted = held + expired + evicted + promoted away."""

    hit_blocks: int = 0
    inserted_blocks: int = 0
    expired_blocks: int = 0
    evicted_blocks: int = 0
    promoted_blocks: int = 0
    """Left for HBM without keeping a copy."""
    read_bytes: int = 0
    written_bytes: int = 0
    offered_blocks: int = 0
    """Offered to be written: landed, dropped, or still under way."""
    landed_blocks: int = 0
    dropped_blocks: int = 0
    dropped_bytes: int = 0
    blocked_writes: int = 0


class Tier:
    """A memory instance that evicts by LRU; hierarchies that reach the same memory share the object."""

    __slots__ = (
        "capacity_blocks",
        "coming",
        "counters",
        "is_ordered",
        "pin_blocks",
        "pin_limit",
        "refused",
        "reserved",
        "runs",
        "spec",
        "ttl_s",
    )

    def __init__(self, spec: TierSpec) -> None:
        self.spec = spec
        self.capacity_blocks = spec.capacity_blocks
        self.pin_blocks = spec.policy.pin_blocks
        self.is_ordered = self.pin_blocks > 0
        """It matters what of a write it takes first."""
        self.pin_limit = spec.policy.pin_limit
        self.ttl_s = math.inf if spec.ttl_s is None else spec.ttl_s
        self.runs = Runs(is_queued=True)
        self.coming = Runs(is_queued=False)
        """What is on its way here, each block with the latest use known of it."""
        self.counters = TierCounters()
        self.refused: list[Piece] = []
        """What has landed last and was not taken."""
        self.reserved = 0
        """Blocks of open requests that take room and cannot be hit: to be computed, loading, or partial."""

    def __repr__(self) -> str:
        return f"Tier({self.spec.name!r}, held={self.runs.held}, capacity={self.spec.capacity_blocks})"

    @property
    def cached_blocks(self) -> int:
        """Blocks that what is cached takes."""
        return self.runs.held

    @property
    def free_blocks(self) -> float:
        """Room that takes no eviction."""
        capacity = self.capacity_blocks
        return math.inf if capacity is None else capacity - self.cached_blocks - self.reserved

    @property
    def room_blocks(self) -> float:
        """Room that takes no block from anyone who is using it."""
        capacity = self.capacity_blocks
        if capacity is None:
            return math.inf
        if self.pin_blocks:
            capacity -= self.runs.permanent
        return capacity - self.runs.pinned - self.reserved

    def expire(self, now_s: float) -> list[Piece]:
        """Let go of what has outlived the TTL."""
        runs = self.runs
        held = runs.held
        expired = runs.expire(now_s, self.ttl_s)
        if expired:
            self.counters.expired_blocks += held - runs.held
        return expired

    def make_room(self, blocks: int, now_s: float) -> list[Piece]:
        """Evict until `blocks` more fit, as far as there is anything to evict."""
        capacity, runs = self.capacity_blocks, self.runs
        if capacity is None:
            return []
        held = runs.held
        short = blocks - capacity + held + self.reserved
        if short <= 0:
            return []
        evicted = runs.evict(short)
        self.counters.evicted_blocks += held - runs.held
        return evicted

    def clear(self) -> None:
        """Let go of everything that nobody is using."""
        held = self.runs.held
        self.runs.evict(held)
        if self.pin_blocks:
            for node in list(self.runs.by_node):
                for start, end, use in self.runs.by_node.get(node, [])[:]:
                    if use is PERMANENT:
                        self.runs.take(node, start, end)
        self.counters.evicted_blocks += held - self.runs.held

    def note_use(self, node: Node, start: int, end: int, use: Use) -> None:
        """Let `use` be the last use of what is held of blocks [start, end)."""
        self.runs.paint(node, start, end, use, False)

    def expect(self, pieces: list[Piece], blocks: int) -> None:
        """Note what has been set on its way here."""
        self.counters.offered_blocks += blocks
        for node, start, end, use in pieces:
            self.coming.paint(node, start, end, use, fill=True)

    def take_in(self, pieces: list[Piece], blocks: int, block_bytes: int, now_s: float) -> list[Piece]:
        """Hold what has been written, each block with the latest use known of it; return what is refused.

        `make_room` follows, and says what had to leave.
        """
        counters, coming = self.counters, self.coming
        if self.is_ordered:
            pieces = sorted(pieces, key=_by_use_from_root)
        for node, start, end, _ in pieces:
            for low, high, use in coming.within(node, start, end):
                self._hold(node, low, high, use, now_s)
            coming.take(node, start, end)
        refused, self.refused = self.refused, []
        for _, start, end, _ in refused:
            blocks -= end - start
            counters.dropped_blocks += end - start
            counters.dropped_bytes += (end - start) * block_bytes
        counters.landed_blocks += blocks
        counters.written_bytes += blocks * block_bytes
        return refused

    def _hold(self, node: Node, start: int, end: int, use: Use, now_s: float) -> None:
        """Hold blocks that it has not held."""
        self.counters.inserted_blocks += self.runs.paint(node, start, end, use, fill=True)
        if start < self.pin_blocks:
            self.pin(node, start, end)

    def pin(self, node: Node, start: int, end: int) -> int:
        """Never let go of those of the held blocks [start, end) that begin a path, as far as allowed.

        Returns where those that are pinned now end.
        """
        runs = self.runs
        spare = self.pin_limit - runs.permanent
        stop = min(end, self.pin_blocks, start + spare)
        if stop > start:
            runs.paint(node, start, stop, PERMANENT, fill=False)
            return stop
        return start

    def lose(self, pieces: list[Piece], blocks: int, bytes_count: int) -> None:
        """Give up what was on its way here."""
        self.counters.dropped_blocks += blocks
        self.counters.dropped_bytes += bytes_count
        for node, start, end, _ in pieces:
            self.coming.take(node, start, end)

    def promote_away(self, node: Node, start: int, end: int) -> None:
        """Let go of blocks that HBM has taken over."""
        self.counters.promoted_blocks += self.runs.take(node, start, end)


def _by_use_from_root(piece: Piece) -> tuple[int, int]:
    return piece[3].sequence, piece[1]
