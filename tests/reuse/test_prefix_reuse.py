"""Stretches against a twin that walks block by block through dictionaries."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.reuse.curves import by_ttl, hits_by_capacity, working_set
from swarm.reuse.prefix_reuse import Reuse, ReuseBuilder, Touch
from swarm.workload.block_paths import BrokenChainError

BLOCK = 4


class Request(NamedTuple):
    at_us: int
    ids: tuple[int, ...]
    overhang: int


@st.composite
def workloads(draw: st.DrawFn) -> list[list[Request]]:
    """Draw namespaces of requests in order of time: paths through a random tree."""
    spaces = []
    for _ in range(draw(st.integers(1, 3))):
        parents = [draw(st.integers(-1, node - 1)) for node in range(draw(st.integers(1, 12)))]
        requests = []
        at_us = 0
        for _ in range(draw(st.integers(1, 12))):
            at_us += draw(st.integers(0, 5))
            node = draw(st.integers(-1, len(parents) - 1))
            path: list[int] = []
            while node >= 0:
                path.insert(0, node)
                node = parents[node]
            requests.append(Request(at_us, tuple(path), draw(st.integers(0, 2)) if path else 0))
        spaces.append(requests)
    return spaces


TTLS = (0, 1, 3, 7, 1000)


def built(spaces: list[list[Request]]) -> Reuse:
    builder = ReuseBuilder(TTLS)
    numbers = itertools.count()
    for requests in spaces:
        touches = [
            Touch(next(numbers), at_us, np.array(ids, dtype=np.int64), BLOCK, overhang)
            for at_us, ids, overhang in requests
        ]
        builder.add(touches, 12, lambda request, error: pytest.fail(str(error)))
    return builder.build(min((r.at_us for space in spaces for r in space), default=0))


def in_order(spaces: list[list[Request]]) -> list[tuple[int, list[tuple[int, int]], int]]:
    """Return (instant, blocks by namespace and id, overhang) of all requests, ties in given order."""
    rows = [
        (request.at_us, [(space, block) for block in request.ids], request.overhang)
        for space, requests in enumerate(spaces)
        for request in requests
    ]
    return sorted(rows, key=lambda row: row[0])


def tokens(hit: int, blocks: int, overhang: int) -> int:
    return hit * BLOCK - (overhang if hit == blocks else 0)


def twin_ttl(spaces: list[list[Request]], ttl_us: int | None) -> tuple[int, dict[tuple[int, int], int]]:
    """Return hit tokens, and how often each block was computed."""
    last: dict[tuple[int, int], int] = {}
    computed: dict[tuple[int, int], int] = {}
    hits = 0
    for at_us, path, overhang in in_order(spaces):
        present = [block in last and (ttl_us is None or at_us - last[block] <= ttl_us) for block in path]
        run = next((index for index, held in enumerate(present) if not held), len(path))
        hits += tokens(run, len(path), overhang)
        for block in path[run:]:
            computed[block] = computed.get(block, 0) + 1
        last.update(dict.fromkeys(path, at_us))
    return hits, computed


def twin_lru(spaces: list[list[Request]], capacity_blocks: int) -> int:
    """Return hit tokens of one pool that evicts the tail of the least recently used path first."""
    pool: OrderedDict[tuple[int, int], None] = OrderedDict()
    hits = 0
    for _, path, overhang in in_order(spaces):
        run = next((index for index, block in enumerate(path) if block not in pool), len(path))
        hits += tokens(run, len(path), overhang)
        for block in reversed(path):
            pool[block] = None
            pool.move_to_end(block)
        while len(pool) > capacity_blocks:
            pool.popitem(last=False)
    return hits


def twin_holding(spaces: list[list[Request]], ttl_us: int | None) -> tuple[float, int]:
    """Return mean and peak of the tokens held, from the union of [use, use + TTL] of each block."""
    rows = in_order(spaces)
    rows = [(at_us - rows[0][0], path, overhang) for at_us, path, overhang in rows]
    end_us = rows[-1][0]
    uses: dict[tuple[int, int], list[int]] = {}
    for at_us, path, _ in rows:
        for block in path:
            uses.setdefault(block, []).append(at_us)
    total = 0
    instants = [0] * (end_us + 1)
    for times in uses.values():
        held = set()
        for at_us in times:
            last = end_us if ttl_us is None else min(end_us, at_us + ttl_us)
            held.update(range(at_us, last + 1))
        for instant in held:
            instants[instant] += BLOCK
        # [a, b] is b - a long: count the steps of which one use holds both ends.
        steps = set()
        for at_us in times:
            last = end_us if ttl_us is None else min(end_us, at_us + ttl_us)
            steps.update(range(at_us, last))
        total += len(steps) * BLOCK
    peak = max(instants)
    return (total / end_us if end_us else float(peak)), peak


@settings(max_examples=200, deadline=None)
@given(spaces=workloads(), ttl_us=st.sampled_from((*TTLS, None)))
def test_hits_and_computations_under_a_ttl_are_those_of_each_block(
    spaces: list[list[Request]], ttl_us: int | None
) -> None:
    hits, computed = twin_ttl(spaces, ttl_us)
    result = by_ttl(built(spaces), ttl_us)
    mean = sum(computed.values()) / len(computed) if computed else None
    most = max(computed.values()) if computed else None
    assert (result.hit_tokens, result.computed_max) == (hits, most)
    assert result.computed_mean == (mean if mean is None else pytest.approx(mean))


@settings(max_examples=200, deadline=None)
@given(spaces=workloads(), capacity_blocks=st.integers(0, 40))
def test_hits_of_an_lru_pool_are_those_of_each_block(
    spaces: list[list[Request]], capacity_blocks: int
) -> None:
    capacity = capacity_blocks * BLOCK + BLOCK - 1
    assert hits_by_capacity(built(spaces), capacity) == twin_lru(spaces, capacity_blocks)


@settings(max_examples=200, deadline=None)
@given(spaces=workloads(), ttl_us=st.sampled_from((*TTLS, None)))
def test_the_working_set_is_the_union_of_each_blocks_intervals(
    spaces: list[list[Request]], ttl_us: int | None
) -> None:
    holding = working_set(built(spaces), ttl_us)
    assert (holding.mean, holding.peak) == pytest.approx(twin_holding(spaces, ttl_us))


@settings(max_examples=50, deadline=None)
@given(spaces=workloads(), ttl_us=st.sampled_from((*TTLS, None)), by_us=st.integers(1, 2_000_000_000_000_000))
def test_a_workload_that_begins_later_is_held_alike(
    spaces: list[list[Request]], ttl_us: int | None, by_us: int
) -> None:
    later = [[request._replace(at_us=request.at_us + by_us) for request in space] for space in spaces]
    one, other = working_set(built(spaces), ttl_us), working_set(built(later), ttl_us)
    assert (one.mean, one.peak, one.at_us.tolist()) == (other.mean, other.peak, other.at_us.tolist())


@pytest.mark.parametrize(
    "paths", [([0, 1], [1]), ([0, 1], [0, 2, 1]), ([0, 1, 0],), ([0, 1], [2, 1]), ([0, 1], [1, 0])]
)
def test_ids_that_are_not_prefix_chained_are_reported(paths: tuple[list[int], ...]) -> None:
    broken: list[BrokenChainError] = []
    touches = [Touch(n, n, np.array(ids, dtype=np.int64), BLOCK, 0) for n, ids in enumerate(paths)]
    ReuseBuilder(TTLS).add(touches, 3, lambda request, error: broken.append(error))
    assert len(broken) == 1


def test_nothing_at_all_is_an_answer() -> None:
    result = by_ttl(ReuseBuilder(TTLS).build(0), 3)
    assert (result.hit_tokens, result.computed_mean, result.holding.peak) == (0, None, 0)
