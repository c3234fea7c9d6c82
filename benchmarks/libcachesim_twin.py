"""Misses of LRU and FIFO on a recorded trace, by these tiers and by libcachesim, block by block.

    pip install libcachesim
    python benchmarks/libcachesim_twin.py TRACE.jsonl [--blocks 1000 10000 30000] [--requests N]

The trace is in Mooncake's format (`hash_ids`). Both count a block as hit where all before it on its path hit.
libcachesim takes one object after the other: each request touches its path from the root on, which counts,
and for LRU once more from its end, so that roots are the most recent, as here. Exits 1 where counts differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from swarm.context.tree import Node
from swarm.kvcache.blocks import Uses
from swarm.kvcache.evictions import new_tier
from swarm.kvcache.policy import TierPolicy
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.tier import TierSpec

try:
    import libcachesim
except ImportError:
    sys.exit("libcachesim_twin.py: libcachesim is not installed: pip install libcachesim")

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
    """Return the misses of one of these tiers, which is written what each request lacks."""
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
    tier, uses, rules = new_tier(spec), Uses(), CacheRules(1, 1, False, False)
    misses = 0
    for path in paths:
        held = [node in tier.runs.by_node for node in path]
        misses += len(path) - (held.index(False) if False in held else len(path))
        use = uses.new(0.0, path[-1])
        for index, node in enumerate(path):
            tier.note_use(node, index, index + 1, use)
        pieces = [(node, k, k + 1, use) for k, node in enumerate(path) if not held[k]]
        tier.expect(pieces, len(pieces))
        tier.take_in(pieces, len(pieces), rules.block_bytes, 0.0)
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
            print(f"{capacity:>9,} blocks, {name:4}: {mine:,} misses here, {other:,} by libcachesim")
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
