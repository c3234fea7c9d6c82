"""What a stated cache would have hit of a run's own sends: beside what the server says it did.

One pool of so many tokens, least recently used out first, with a sliding TTL. Requests take no time: all
blocks of one are there from its sending on. These are the conventions of `swarm analyze`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from swarm.config.cache_model import CacheModelConfig
from swarm.context.ideal import Ideal
from swarm.context.tree import Prompt
from swarm.hit_names import LOST_TO
from swarm.kvcache.blocks import Uses
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.loss import Losses
from swarm.kvcache.policy import WRITE_THROUGH
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.tier import Tier, TierSpec
from swarm.measure.reconcile import as_counted, sends
from swarm.records.batch import Place
from swarm.records.columns import LOST

_MODELLED = ("block_rounding", "ttl", "capacity")
"""Causes that a pool without time can tell; what is left between it and the server is unexplained."""


def with_modelled(
    table: pa.Table, places: Sequence[Place], config: CacheModelConfig, *, block_tokens: int
) -> pa.Table:
    """Return the rows with `modelled_tokens`, and with modelled causes where the target stated none.

    The causes sum to ideal minus cached: `unexplained` is what is left, below 0 where the server held more
    than the model.
    """
    cache = _cache(config, block_tokens)
    known = Ideal(block_tokens=block_tokens)
    modelled: list[int | None] = [None] * table.num_rows
    lost: list[tuple[int, ...] | None] = [None] * table.num_rows
    # The model's blocks are of planned tokens; the rows' are of tokens as their server counts them.
    planned, counted = (table.column(name).to_pylist() for name in ("planned_prompt_tokens", "prompt_tokens"))
    for row, at_s, prompt, is_send in sends(table, places):
        ideal = known.send(*prompt)
        hit, causes = _touch(cache, prompt, at_s, ideal if is_send else None)
        if is_send:
            modelled[row] = hit
            lost[row] = tuple(tokens * counted[row] // planned[row] for tokens in causes)
    at = table.schema.get_field_index("modelled_tokens")
    table = table.set_column(at, table.schema.field(at), as_counted(table, pa.array(modelled, pa.int64())))
    return _with_causes(table, lost, table.column("ideal_tokens").to_pylist())


def _cache(config: CacheModelConfig, block_tokens: int) -> Hierarchy:
    blocks = None if config.capacity_tokens is None else config.capacity_tokens // block_tokens
    spec = TierSpec(
        name="hbm",
        capacity_blocks=blocks,
        ttl_s=config.ttl_s,
        scope="replica",
        inclusive=True,
        policy=WRITE_THROUGH,
        read_bytes_per_s=None,
        write_bytes_per_s=None,
        read_latency_s=0.0,
        write_latency_s=0.0,
        write_policy="drop",
        write_queue_bytes=math.inf,
    )
    tier = Tier(spec)
    rules = CacheRules(
        block_tokens=block_tokens,
        block_bytes=1,
        hit_leaves_a_token=config.hit_leaves_a_token,
        partial_blocks=False,
    )
    losses = Losses(block_tokens=block_tokens, tiers=[tier], asked=[tier])
    return Hierarchy(tiers=[tier], rules=rules, uses=Uses(), losses=losses, states=None)


def _touch(
    cache: Hierarchy, prompt: Prompt, at_s: float, ideal_tokens: int | None
) -> tuple[int, tuple[int, ...]]:
    """Look a prompt up and hold it; return its hit and what was lost to each cause.

    Of a prompt larger than the pool the beginning is held: its tail is evicted first.
    """
    match = cache.lookup(prompt, at_s)
    admission = cache.admit(match, at_s, use_tokens=None, ideal_tokens=ideal_tokens)
    if admission.handle is not None:
        cache.release(admission.handle, at_s, prompt.length)
        return admission.used_tokens, admission.lost_to
    capacity = cache.tiers[0].spec.capacity_blocks or 0
    hit, held = cache.lookup(prompt, at_s).tokens, capacity * cache.rules.block_tokens
    if held:
        part = Prompt(prompt.node, held)
        kept = cache.admit(cache.lookup(part, at_s), at_s, use_tokens=None, ideal_tokens=None)
        assert kept.handle is not None
        cache.release(kept.handle, at_s, held)
    lost = [0] * len(LOST_TO)
    if ideal_tokens is not None:
        lost[LOST_TO.index("capacity")] = ideal_tokens - hit
    return hit, tuple(lost)


def _with_causes(table: pa.Table, lost: list[tuple[int, ...] | None], ideal: list[int]) -> pa.Table:
    """Fill in causes where the target gave none but said what it had cached."""
    cached = table.column("cached_tokens").to_pylist()
    known = table.column(LOST[0]).to_pylist()
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in LOST}
    kept = [f"lost_tokens_{cause}" for cause in _MODELLED]
    for row, causes in enumerate(lost):
        if causes is None or cached[row] is None or known[row] is not None:
            continue
        told = dict(zip(LOST, causes, strict=True))
        for name in LOST:
            columns[name][row] = told[name] if name in kept else 0
        explained = sum(told[name] for name in kept)
        columns["lost_tokens_unexplained"][row] = ideal[row] - cached[row] - explained
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    return table
