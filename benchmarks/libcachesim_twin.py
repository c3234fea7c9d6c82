"""Misses of LRU, FIFO and Belady on a recorded trace, here and by libcachesim, block by block.

    pip install libcachesim
    python benchmarks/libcachesim_twin.py TRACE.jsonl [--blocks 1000 10000 30000] [--requests N]

The trace is in Mooncake's format (`hash_ids`). Both count a block as hit where all before it on its path hit.
libcachesim takes one object after the other, from the root on. FIFO is written likewise here. For LRU each
path is touched there once more from its end, so that roots are the most recent. Its Belady takes each
block that it misses; the optimum here none that is not used again, so it may miss a few less. Exits 1 where
LRU or FIFO differ, or where the optimum misses more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from swarm.context.tree import Node
from swarm.kvcache.blocks import Uses
from swarm.kvcache.evictions import new_tier
from swarm.kvcache.policy import TierPolicy
from swarm.kvcache.tier import TierSpec
from swarm.reuse.optimum import Optimum
from swarm.reuse.prefix_reuse import ReuseBuilder, Touch

try:
    import libcachesim
except ImportError:
    sys.exit("libcachesim_twin.py: libcachesim is not installed: pip install libcachesim")

BLOCK_BYTES = 1
NEVER = 1 << 62
"""When a block is used again that never is."""

Blocks = list[Node]
"""A request's path, root first."""


def read(trace: Path, requests: int | None) -> list[Blocks]:
    """Return each request's path of blocks; equal blocks are one node."""
    nodes: dict[tuple[Node | None, int], Node] = {}
    paths = []
    with trace.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number == requests:
                break
            above, path = None, []
            for index, block in enumerate(json.loads(line)["hash_ids"]):
                key = (above, block)
                if key not in nodes:
                    nodes[key] = Node(str(block), above, index)
                above = nodes[key]
                path.append(above)
            paths.append(path)
    return paths


def ours(eviction: Any, paths: Iterable[Blocks], capacity: int) -> int:
    """Return the misses of one of these tiers; LRU is written all a request lacks, FIFO block by block."""
    policy = TierPolicy(eviction, None, 0, 0, "write_through", 1)
    spec = TierSpec(
        name="dram",
        capacity_blocks=capacity,
        ttl_s=None,
        scope="cluster",
        inclusive=True,
        policy=policy,
        read_bytes_per_s=None,
        write_bytes_per_s=None,
        read_latency_s=0.0,
        write_latency_s=0.0,
        write_policy="drop",
        write_queue_bytes=1e18,
    )
    tier, uses = new_tier(spec), Uses()
    misses = 0
    for path in paths:
        use = uses.new(0.0, path[-1])
        blocks = [(node, index, index + 1, use) for index, node in enumerate(path)]
        run = True
        for together in [blocks] if eviction == "lru" else [[each] for each in blocks]:
            pieces = []
            for piece in together:
                held = piece[0] in tier.runs.by_node
                run &= held
                misses += not run
                if held:
                    tier.note_use(*piece)
                else:
                    pieces.append(piece)
            tier.expect(pieces, len(pieces))
            tier.take_in(pieces, len(pieces), BLOCK_BYTES, 0.0)
            tier.make_room(0, 0.0)
    return misses


def theirs(make: Callable[..., Any], paths: Iterable[Blocks], capacity: int, *, again: bool) -> int:
    """Return the misses of one of libcachesim's caches."""
    cache = make(cache_size=capacity)
    request = libcachesim.Request()
    request.obj_size = 1
    numbers: dict[Node, int] = {}
    misses = 0
    for path in paths:
        ids = [numbers.setdefault(node, len(numbers)) for node in path]
        run = True
        for each in ids:
            request.obj_id = each
            run &= bool(cache.get(request))
            misses += not run
        for each in reversed(ids) if again else ():
            request.obj_id = each
            cache.get(request)
    return misses


def belady(paths: list[Blocks], capacity: int) -> tuple[int, int]:
    """Return the misses of the optimum here, and of libcachesim's Belady."""
    numbers: dict[Node, int] = {}
    asked = [[numbers.setdefault(node, len(numbers)) for node in path] for path in paths]
    builder = ReuseBuilder(())
    touches = [Touch(at, at, np.array(ids, dtype=np.int64), 1, 0) for at, ids in enumerate(asked)]
    builder.add(touches, len(numbers), lambda request, error: sys.exit(f"request {request}: {error}"))
    flat = [each for ids in asked for each in ids]
    following, last = [NEVER] * len(flat), dict[int, int]()
    for at in range(len(flat) - 1, -1, -1):
        following[at] = last.get(flat[at], NEVER)
        last[flat[at]] = at
    cache, request = libcachesim.Belady(cache_size=capacity), libcachesim.Request()
    request.obj_size = 1
    misses = 0
    for each, next_at in zip(flat, following, strict=True):
        request.obj_id, request.next_access_vtime = each, next_at
        misses += not cache.get(request)
    return len(flat) - Optimum(builder.build(0)).hits(capacity), misses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1000, 10_000, 30_000])
    parser.add_argument("--requests", type=int, default=None)
    options = parser.parse_args()
    paths = read(options.trace, options.requests)
    blocks = sum(map(len, paths))
    print(f"{len(paths):,} requests, {blocks:,} blocks")
    differ = False
    for capacity in options.blocks:
        for name, make, again in (("lru", libcachesim.LRU, True), ("fifo", libcachesim.FIFO, False)):
            mine, other = ours(name, paths, capacity), theirs(make, paths, capacity, again=again)
            differ |= mine != other
            print(f"{capacity:>9,} blocks, {name:6}: {mine:,} misses here, {other:,} by libcachesim")
        mine, other = belady(paths, capacity)
        differ |= mine > other
        print(f"{capacity:>9,} blocks, belady: {mine:,} misses here, {other:,} by libcachesim")
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
