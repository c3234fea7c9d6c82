"""One look at a target's own counters: how busy it is, and what it has counted since it began."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.hit_names import TIERS
from swarm.live.targets.exposition import Sample, samples
from swarm.measure.server_time import ServerSample
from swarm.records.tier_looks import TierState

BEGAN = "process_start_time_seconds"
CREATED = {"vllm:prompt_tokens_created", "vllm:generation_tokens_created", "sglang:prompt_tokens_created"}
"""Unix times at which a process made its series; only some servers publish them."""
GAUGES = {
    "running": ("vllm:num_requests_running", "sglang:num_running_reqs", "trtllm_num_requests_running"),
    "waiting": ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "trtllm_num_requests_waiting"),
}
"""Sums over engines."""
USE = (
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "sglang:token_usage",
    "trtllm_kv_cache_utilization",
)
"""Shares of each engine's KV memory."""
COUNTS = {
    "preemptions": ("vllm:num_preemptions", "sglang:num_retracted_requests"),
    "prompt_tokens": ("vllm:prefix_cache_queries", "sglang:prompt_tokens"),
    "cached_tokens": ("vllm:prefix_cache_hits", "vllm:external_prefix_cache_hits", "sglang:cached_tokens"),
    "output_tokens": ("vllm:generation_tokens", "sglang:generation_tokens"),
}
SOURCES = {
    "vllm:prompt_tokens_by_source": "source",
    "sglang:cached_tokens": "cache_source",
    "swarm:cached_tokens_by_tier": "tier",
}
"""Counters by where tokens came from, and the label that says it."""
TIER_SERIES = {
    "swarm:tier_capacity_bytes": "capacity_bytes",
    "swarm:tier_held_bytes": "held_bytes",
    "swarm:tier_used_bytes": "used_bytes",
    "swarm:tier_read_bytes": "read_bytes",
    "swarm:tier_written_bytes": "written_bytes",
    "swarm:tier_dropped_bytes": "dropped_bytes",
}
"""What an emulated fleet says of each of its memories."""
BYTES_END = 2.0**62
"""No fleet has so many; what says so is not believed."""
_NAMES = frozenset({BEGAN, *CREATED, *USE, *SOURCES, *TIER_SERIES}.union(*GAUGES.values(), *COUNTS.values()))


def read_sample(texts: Sequence[str], at_s: float) -> ServerSample | None:
    """Return what several servers' metrics say together; None where one tells nothing that is known."""
    pages = [[*samples(text, _NAMES)] for text in texts]
    if not pages or not all(pages):
        return None
    found = [sample for page in pages for sample in page]
    counts = {name: value for name, names in COUNTS.items() if (value := _sum(found, names)) is not None}
    gauges = {name: value for name, names in GAUGES.items() if (value := _sum(found, names)) is not None}
    use = [sample.value for sample in found if sample.name in USE]
    if use:
        gauges["kv_use"] = sum(use) / len(use)
    if not counts and not gauges:
        return None
    began = [sample.value for sample in found if sample.name == BEGAN or sample.name in CREATED]
    names = {sample.name.split(":")[0] for sample in found if ":" in sample.name} - {"swarm"}
    return ServerSample(
        at_s=at_s,
        family="+".join(sorted(names)) or "unknown",
        gauges=gauges,
        counts=counts,
        by_source=_by_source(found),
        began_s=max(began, default=None),
        servers=len(pages),
        tiers=_tiers(found),
    )


def _sum(found: Sequence[Sample], names: Sequence[str]) -> float | None:
    values = [sample.value for sample in found if sample.name in names and sample.value >= 0]
    return sum(values) if values else None


def _tiers(found: Sequence[Sample]) -> tuple[TierState, ...]:
    """Return the memories' states, servers' added up; a tier that one of them does not bound has no bound."""
    sums: dict[str, dict[str, int]] = {}
    limits: dict[str, int] = {}
    for sample in found:
        name, tier = TIER_SERIES.get(sample.name), sample.labels.get("tier")
        if name is not None and tier in TIERS and 0 <= sample.value < BYTES_END:
            of_tier = sums.setdefault(tier, dict.fromkeys(TIER_SERIES.values(), 0))
            of_tier[name] += int(sample.value)
            limits[tier] = limits.get(tier, 0) + (name == "capacity_bytes") - (name == "held_bytes")
    states = []
    for tier in TIERS:
        if tier in sums:
            of_tier = sums[tier]
            limit = of_tier.pop("capacity_bytes")
            states.append(TierState(tier, None if limits[tier] else limit, **of_tier))
    return tuple(states)


def _by_source(found: Sequence[Sample]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for sample in found:
        label = SOURCES.get(sample.name)
        source = None if label is None else sample.labels.get(label)
        if source:
            sums[source] = sums.get(source, 0.0) + sample.value
    return sums
