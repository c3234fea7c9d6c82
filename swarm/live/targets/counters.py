"""A server's own counters, read from the Prometheus text of its `/metrics`.

Counters alone, of tokens: a gauge such as `sglang:cache_hit_rate` tells of one moment, and not of a run.
Dynamo and llm-d pass their engines' metrics on under the engines' names, at the workers' own ports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from swarm.measure.totals import ServerCounters

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?\s+(\S+)")
TOKENS_MAX = 2.0**53
"""A counter beyond it counts no tokens."""
TEXT_BYTES_MAX = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Family:
    """The names of one engine's counters; a `_total` at the end may be there or not."""

    name: str
    hits: tuple[str, ...]
    """Prompt tokens served from a cache."""
    queries: tuple[str, ...]
    """Prompt tokens looked up."""
    outputs: tuple[str, ...]


FAMILIES = (
    # What its connectors (LMCache, NIXL, offloading) served is counted apart, of what HBM missed.
    Family(
        "vllm",
        hits=("vllm:prefix_cache_hits", "vllm:external_prefix_cache_hits"),
        queries=("vllm:prefix_cache_queries",),
        outputs=("vllm:generation_tokens",),
    ),
    # By `cache_source`: device, host, storage; prompt tokens count cached ones too.
    Family(
        "sglang",
        hits=("sglang:cached_tokens",),
        queries=("sglang:prompt_tokens",),
        outputs=("sglang:generation_tokens",),
    ),
)


def read_counters(texts: Sequence[str]) -> ServerCounters | None:
    """Return the sums over several servers' metrics; None where one of them has no known counters."""
    found = [_read(text) for text in texts]
    if not found or any(each is None for each in found):
        return None
    known = [each for each in found if each is not None]
    families = sorted({each.family for each in known})
    return ServerCounters(
        family="+".join(families),
        servers=len(known),
        hit_tokens=sum(each.hit_tokens for each in known),
        query_tokens=sum(each.query_tokens for each in known),
        output_tokens=sum(each.output_tokens for each in known),
    )


GAUGES = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
"""Names under which engines tell the share of their KV memory that requests are using."""


def read_occupancy(texts: Sequence[str]) -> float | None:
    """Return the mean share of KV memory in use, over engines; None where no server tells it."""
    values = [_number(value) for text in texts for value in _USAGE.findall(text[:TEXT_BYTES_MAX])]
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None


_USAGE = re.compile(rf"^(?:{'|'.join(GAUGES)})(?:\{{.*\}})?\s+([0-9.eE+-]+)\s*$", re.MULTILINE)


def difference(before: ServerCounters | None, after: ServerCounters | None) -> ServerCounters | None:
    """Return what was counted in between; None where it is not known, or a server began anew."""
    if before is None or after is None or before.family != after.family:
        return None
    parts = (
        after.hit_tokens - before.hit_tokens,
        after.query_tokens - before.query_tokens,
        after.output_tokens - before.output_tokens,
    )
    return None if min(parts) < 0 else ServerCounters(after.family, after.servers, *parts)


def _number(text: str) -> float:
    """Return a number; one that cannot be read is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read(text: str) -> ServerCounters | None:
    sums: dict[str, float] = {}
    for line in text[:TEXT_BYTES_MAX].splitlines():
        sample = _SAMPLE.match(line)
        if sample is not None:
            name = sample[1].removesuffix("_total")
            value = _number(sample[2])
            if 0 <= value <= TOKENS_MAX:
                sums[name] = sums.get(name, 0.0) + value
    for family in FAMILIES:
        if family.queries[0] in sums and family.hits[0] in sums:
            hits, queries, outputs = (
                int(sum(sums.get(name, 0.0) for name in names))
                for names in (family.hits, family.queries, family.outputs)
            )
            return ServerCounters(family.name, 1, hits, queries, outputs)
    return None
