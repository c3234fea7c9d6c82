"""A stated cache over a run's sends, against blocks in a dictionary."""

import dataclasses
from collections import OrderedDict

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.config.cache_model import CacheModelConfig
from swarm.hit_names import LOST_TO
from swarm.measure.modelled import with_modelled
from swarm.measure.reconcile import with_ideal
from swarm.records.batch import Place
from swarm.records.columns import LOST
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable

SIZE = 4
PLACES = (Place("root", None, 0), Place("a", "root", 8), Place("b", "root", 6), Place("c", "a", 15))
STARTS = {"root": [], "a": [("root", 8)], "b": [("root", 6)], "c": [("root", 8), ("a", 15)]}


def row(at_s: float, node: str, length: int, cached: int | None = None) -> RequestRow:
    values: dict[str, object] = {
        field.name: 0 if "int" in str(field.type) or "float" in str(field.type) else ""
        for field in dataclasses.fields(RequestRow)
    }
    values |= {
        "parent": None, "sent_s": at_s, "completed_s": at_s, "prompt_tokens": length,
        "planned_prompt_tokens": length, "prompt_node": node, "outcome": "ok", "cached_tokens": cached,
        "modelled_tokens": None, "by_tier": None, "lost_to": None, "echo": False, "measured": True,
        "resumed": False, "error_class": None,
    }  # fmt: skip
    return RequestRow(**values)  # type: ignore[arg-type]


def modelled(rows: list[RequestRow], **config: object) -> pa.Table:
    table = RowTable()
    table.extend(rows)
    ideal = with_ideal(table.table(), PLACES, block_tokens=SIZE)
    return with_modelled(ideal, PLACES, CacheModelConfig.model_validate(config), block_tokens=SIZE)


def blocks(node: str, length: int) -> list[tuple[str, int]]:
    """Name each whole block by the node that holds its last token, and its index."""
    edges = [*STARTS[node], (node, length)]
    names = []
    for index in range(length // SIZE):
        last = (index + 1) * SIZE - 1
        names.append((next(owner for owner, end in edges if last < end), index))
    return names


def twin(rows: list[RequestRow], capacity: int | None, ttl_s: float | None) -> list[int]:
    held: OrderedDict[tuple[str, int], float] = OrderedDict()
    hits = []
    for each in rows:
        assert each.sent_s is not None
        if ttl_s is not None:
            for name in [name for name, at_s in held.items() if each.sent_s - at_s > ttl_s]:
                del held[name]
        names = blocks(each.prompt_node, each.prompt_tokens)
        hit = 0
        while hit < len(names) and names[hit] in held:
            hit += 1
        hits.append(hit * SIZE)
        if capacity is not None:
            names = names[: capacity // SIZE]
        # The tail is evicted first: it is the least recent of one use.
        for name in reversed(names):
            held.pop(name, None)
            held[name] = each.sent_s
        while capacity is not None and len(held) > capacity // SIZE:
            held.popitem(last=False)
    return hits


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from(sorted(STARTS)), st.integers(1, 30)),
        min_size=1,
        max_size=30,
    ),
    capacity=st.sampled_from([None, 16, 32, 60]),
    ttl_s=st.sampled_from([None, 3.0, 10.0]),
)
def test_it_hits_what_blocks_in_a_dictionary_do(
    steps: list[tuple[int, str, int]], capacity: int | None, ttl_s: float | None
) -> None:
    rows, at_s = [], 0.0
    least = {"root": 1, "a": 9, "b": 7, "c": 16}
    for gap, node, length in steps:
        at_s += gap
        rows.append(row(at_s, node, max(length, least[node])))
    table = modelled(rows, capacity_tokens=capacity, ttl_s=ttl_s, hit_leaves_a_token=False)
    assert table.column("modelled_tokens").to_pylist() == twin(rows, capacity, ttl_s)


@pytest.mark.parametrize(
    ("config", "cached", "expected"),
    [
        ({"ttl_s": 5.0}, 0, {"block_rounding": 4, "ttl": 12}),
        ({}, 0, {"block_rounding": 4, "unexplained": 12}),
        ({"ttl_s": 5.0}, 4, {"block_rounding": 4, "ttl": 12, "unexplained": -4}),
        ({"capacity_tokens": 16}, 4, {"block_rounding": 4, "capacity": 8}),
    ],
)
def test_causes_sum_to_ideal_less_cached(
    config: dict[str, float], cached: int, expected: dict[str, int]
) -> None:
    between = [row(3.0, "b", 16, 0)] if "capacity_tokens" in config else []
    rows = [row(0.0, "root", 16, 0), *between, row(10.0, "root", 16, cached)]
    last = {
        cause: modelled(rows, **config).column(name).to_pylist()[-1]
        for cause, name in zip(LOST_TO, LOST, strict=True)
    }
    assert {cause: tokens for cause, tokens in last.items() if tokens} == expected
