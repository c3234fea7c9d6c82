"""One look at a target's own counters: how busy it is, and what it has counted since it began."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.live.targets.exposition import Sample, samples
from swarm.measure.server_time import ServerSample

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
_NAMES = frozenset({BEGAN, *CREATED, *USE, *SOURCES}.union(*GAUGES.values(), *COUNTS.values()))


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
    )


def _sum(found: Sequence[Sample], names: Sequence[str]) -> float | None:
    values = [sample.value for sample in found if sample.name in names and sample.value >= 0]
    return sum(values) if values else None


def _by_source(found: Sequence[Sample]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for sample in found:
        label = SOURCES.get(sample.name)
        source = None if label is None else sample.labels.get(label)
        if source:
            sums[source] = sums.get(source, 0.0) + sample.value
    return sums
