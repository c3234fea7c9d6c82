"""One memory that holds KV blocks: what it can do, what it holds, what it has counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from swarm.context.tree import Node
from swarm.hit_names import TierName
from swarm.kvcache.blocks import Piece
from swarm.kvcache.runs import Runs


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One instance of a tier. The room counts by it; bandwidths and latencies are the fleet's to spend."""

    name: TierName
    capacity_blocks: int | None
    ttl_s: float | None
    """Counts from a block's last use, whatever tier it was in then; held while age <= ttl."""
    scope: Literal["replica", "node", "cluster"]
    inclusive: bool
    """Written through when a request ends, and keeps its copy of what is promoted."""
    eviction: Literal["lru"]
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
    """A memory instance; hierarchies that reach the same memory share the object."""

    __slots__ = ("capacity_blocks", "coming", "counters", "reserved", "runs", "spec", "ttl_s")

    def __init__(self, spec: TierSpec) -> None:
        self.spec = spec
        self.capacity_blocks = spec.capacity_blocks
        self.ttl_s = math.inf if spec.ttl_s is None else spec.ttl_s
        self.runs = Runs()
        self.coming = Runs()
        """What is on its way here, each block with the latest use known of it."""
        self.counters = TierCounters()
        self.reserved = 0
        """Blocks of open requests that take room and cannot be hit: to be computed, loading, or partial."""

    def __repr__(self) -> str:
        return f"Tier({self.spec.name!r}, held={self.runs.held}, capacity={self.spec.capacity_blocks})"

    @property
    def free_blocks(self) -> float:
        """Room that takes no eviction."""
        capacity = self.capacity_blocks
        return math.inf if capacity is None else capacity - self.runs.held - self.reserved

    @property
    def room_blocks(self) -> float:
        """Room that takes no block from anyone who is using it."""
        capacity = self.capacity_blocks
        return math.inf if capacity is None else capacity - self.runs.pinned - self.reserved

    def expire(self, now_s: float) -> list[Piece]:
        """Let go of what has outlived the TTL."""
        runs = self.runs
        held = runs.held
        expired = runs.expire(now_s, self.ttl_s)
        if expired:
            self.counters.expired_blocks += held - runs.held
        return expired

    def make_room(self, blocks: int) -> list[Piece]:
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
        self.counters.evicted_blocks += held - self.runs.held

    def expect(self, pieces: list[Piece], blocks: int) -> None:
        """Note what has been set on its way here."""
        self.counters.offered_blocks += blocks
        for node, start, end, use in pieces:
            self.coming.paint(node, start, end, use, fill=True)

    def take_in(self, pieces: list[Piece], blocks: int, bytes_count: int) -> None:
        """Hold what has been written, each block with the latest use known of it."""
        self.counters.landed_blocks += blocks
        self.counters.written_bytes += bytes_count
        runs, coming = self.runs, self.coming
        for node, start, end, _ in pieces:
            for low, high, use in coming.within(node, start, end):
                self.counters.inserted_blocks += runs.paint(node, low, high, use, fill=True)
            coming.take(node, start, end)

    def lose(self, pieces: list[Piece], blocks: int, bytes_count: int) -> None:
        """Give up what was on its way here."""
        self.counters.dropped_blocks += blocks
        self.counters.dropped_bytes += bytes_count
        for node, start, end, _ in pieces:
            self.coming.take(node, start, end)

    def promote_away(self, node: Node, start: int, end: int) -> None:
        """Let go of blocks that HBM has taken over."""
        self.counters.promoted_blocks += self.runs.take(node, start, end)
