"""The optimum against every choice that a pool could make, and against the LRU pool."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.reuse.curves import hits_by_capacity
from swarm.reuse.optimum import Optimum
from swarm.reuse.prefix_reuse import Reuse, ReuseBuilder, Touch

BLOCK = 4


def built(paths: list[tuple[int, ...]], overhangs: list[int]) -> Reuse:
    builder = ReuseBuilder(())
    touches = [
        Touch(number, number, np.array(ids, dtype=np.int64), BLOCK, overhang)
        for number, (ids, overhang) in enumerate(zip(paths, overhangs, strict=True))
    ]
    builder.add(touches, 8, lambda request, error: pytest.fail(str(error)))
    return builder.build(0)


@st.composite
def paths(draw: st.DrawFn, nodes: int, requests: int) -> list[tuple[int, ...]]:
    """Draw requests through a random tree of few blocks."""
    parents = [draw(st.integers(-1, node - 1)) for node in range(nodes)]
    asked = []
    for _ in range(draw(st.integers(1, requests))):
        node, path = draw(st.integers(0, nodes - 1)), []
        while node >= 0:
            path.insert(0, node)
            node = parents[node]
        asked.append(tuple(path))
    return asked


def most_hits(asked: list[tuple[int, ...]], capacity: int) -> int:
    """Return the most blocks that can be hit by leading runs, over every set that a pool could keep."""
    best = {frozenset[int](): 0}
    for path in asked:
        after: dict[frozenset[int], int] = {}
        for held, hits in best.items():
            run = next((i for i, block in enumerate(path) if block not in held), len(path))
            there = sorted(held | set(path))
            for size in range(min(capacity, len(there)) + 1):
                for kept in itertools.combinations(there, size):
                    state = frozenset(kept)
                    after[state] = max(after.get(state, 0), hits + run)
        best = after
    return max(best.values())


@settings(max_examples=150, deadline=None)
@given(asked=paths(nodes=6, requests=7), capacity=st.integers(0, 6))
def test_no_choice_of_what_to_keep_hits_more_and_one_hits_as_much(
    asked: list[tuple[int, ...]], capacity: int
) -> None:
    hits = Optimum(built(asked, [0] * len(asked))).hits(capacity * BLOCK + BLOCK - 1)
    assert hits == most_hits(asked, capacity) * BLOCK


@settings(max_examples=100, deadline=None)
@given(asked=paths(nodes=8, requests=30), data=st.data())
def test_the_optimum_lies_between_lru_and_no_limit_and_grows_with_the_pool(
    asked: list[tuple[int, ...]], data: st.DataObject
) -> None:
    reuse = built(asked, [data.draw(st.integers(0, 2)) for _ in asked])
    optimum = Optimum(reuse)
    curve = [optimum.hits(blocks * BLOCK) for blocks in range(10)]
    lru = [hits_by_capacity(reuse, blocks * BLOCK) for blocks in range(10)]
    assert curve[8:] == [optimum.hits(None)] * 2 == [hits_by_capacity(reuse, None)] * 2
    # Optimal in blocks: a last block that is not full may make the difference of its overhang.
    slack = sum(1 for _ in asked) * 2
    assert all(best >= least - slack for best, least in zip(curve, lru, strict=True))


def test_what_alternates_over_one_block_too_few_keeps_one_of_them() -> None:
    # LRU hits nothing of a cycle of three in a pool of two; the optimum keeps one and hits it half the time.
    reuse = built([(0,), (1,), (2,)] * 6, [0] * 18)
    assert hits_by_capacity(reuse, 2 * BLOCK) == 0
    assert Optimum(reuse).hits(2 * BLOCK) == most_hits([(0,), (1,), (2,)] * 6, 2) * BLOCK > 6 * BLOCK
