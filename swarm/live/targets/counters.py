"""A server's own counters, read from the Prometheus text of its `/metrics`.

Counters alone, of tokens: a gauge such as `sglang:cache_hit_rate` tells of one moment, and not of a run.
Dynamo and llm-d pass their engines' metrics on under the engines' names, at the workers' own ports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarm.errors import OutOfBounds
from swarm.measure.totals import ServerCounters

TOKENS_MAX = 2.0**53
"""A counter beyond it counts no tokens."""
TEXT_BYTES_MAX = 8 * 1024 * 1024
"""Of one server's page; an engine's has some 50 KB."""
SHOWN_MAX = 40


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


_NAMES = sorted({name for each in FAMILIES for name in (*each.hits, *each.queries, *each.outputs)})
# Names that nobody knows are not kept: a page may hold a hundred thousand.
_SAMPLE = re.compile(
    rf"^({'|'.join(_NAMES)})(?:_total)?(?:\{{.*\}})?[ \t]+(\S{{1,{SHOWN_MAX}}})", re.MULTILINE
)


def read_counters(texts: Sequence[str]) -> ServerCounters | None:
    """Return the sums over several servers' metrics; None where one of them has no known counters."""
    return summed([of_page(text) for text in texts])


def summed(found: Sequence[ServerCounters | None]) -> ServerCounters | None:
    """Return the sums over several servers; None where those of one are unknown."""
    known = [each for each in found if each is not None]
    if not found or len(known) < len(found):
        return None
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


def usages(text: str) -> tuple[float, int]:
    """Return the sum and the count of the shares of KV memory in use that a page tells, of its engines."""
    total, count = 0.0, 0
    for found in _USAGE.finditer(text):
        value = _number(found[1])
        if 0.0 <= value <= SHARE_MAX:
            total, count = total + value, count + 1
    return total, count


def mean_usage(found: Iterable[tuple[float, int]]) -> float | None:
    """Return the mean share of KV memory in use, over engines; None where no server tells it."""
    sums = [sum(parts) for parts in zip(*found, strict=True)]
    return sums[0] / sums[1] if sums and sums[1] else None


SHARE_MAX = 100.0
"""Some engines tell percents."""
_USAGE = re.compile(
    rf"^(?:{'|'.join(GAUGES)})(?:\{{.*\}})?[ \t]+([0-9.eE+-]{{1,{SHOWN_MAX}}})[ \t\r]*$", re.MULTILINE
)


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


def of_page(text: str) -> ServerCounters | None:
    """Return what one server has counted; None where no family of counters is there.

    Raises:
        OutOfBounds: A counter of a known name is no count of tokens.
    """
    sums: dict[str, float] = {}
    for name, shown in (found.groups() for found in _SAMPLE.finditer(text)):
        value = _number(shown)
        total = sums.get(name, 0.0) + value
        if not (value >= 0 and total <= TOKENS_MAX):
            raise OutOfBounds(f"{name}: found {shown}; a count of tokens is expected")
        sums[name] = total
    for family in FAMILIES:
        if family.queries[0] in sums and family.hits[0] in sums:
            hits, queries, outputs = (
                int(sum(sums.get(name, 0.0) for name in names))
                for names in (family.hits, family.queries, family.outputs)
            )
            return ServerCounters(family.name, 1, hits, queries, outputs)
    return None
