"""The figures that a sweep's charts can show: every number that a simulated run's summary can hold.

Names are dotted, as in `cache.lost_to.ttl`. A test holds them equal to what simulated runs show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from swarm.config.target import TTLS_S
from swarm.hit_names import LOST_TO, TIER_COUNTS, TIERS

Names = Mapping[str, Any]
"""Names of figures, or of groups of them, each with the names below it; None for a figure."""


def _figures(*names: str, **groups: Names) -> Names:
    return {**dict.fromkeys(names), **groups}


_LATENCY = _figures("mean", "p50", "p90", "p95", "p99", "max", "n")
_LOST_TO = _figures(*LOST_TO)
_HITS = _figures("requests", "prompt_tokens", "hit_tokens", "hit_rate")
_TIER = _figures(*TIER_COUNTS)
_REQUESTS = _figures(
    "sent", "finished", "failed", "interrupted", "in_flight", "unaccounted", "unsent", "attempts"
)
_COST = _figures(
    "cache_ttl_s", "total", "input", "cache_write", "cache_read", "output", "per_session", "per_request"
)
_MONEY = _figures("cost_per_hour", "revenue_per_hour", "revenue_per_cost", "cost_per_mtok_output")
MONEY = "money"
"""The figures that only `economics` adds."""
FIGURES = _figures(
    "duration_s",
    "open_requests_mean",
    "live_agents_mean",
    measured=_figures("from_s", "to_s"),
    load=_figures("sessions_asked_mean", "sessions_live_mean", "ran_out_s"),
    sessions=_figures("started", "finished"),
    agents=_figures("orchestrators", "subagents", "peak_concurrent"),
    requests=_REQUESTS,
    tokens=_figures(
        "prompt", "cached", "computed", "output", "rewritten", *(f"written_{ttl}" for ttl in TTLS_S)
    ),
    ttft_s=_LATENCY,
    effective_ttft_s=_LATENCY,
    tpot_s=_LATENCY,
    itl_s=_figures("mean", "max", "n"),
    e2e_s=_LATENCY,
    admission_wait_s=_LATENCY,
    throughput=_figures("requests_per_s", "prompt_tokens_per_s", "output_tokens_per_s"),
    cache=_figures(
        "hit_rate",
        "ideal_hit_rate",
        "reprefill_mean",
        hit_rate_by_tier=_figures(*TIERS),
        lost_to=_LOST_TO,
        lost_tokens=_LOST_TO,
    ),
    slo=_figures("goodput_ratio", "goodput_requests_per_s"),
    hit_rates=_figures(ideal=_HITS, reported=_HITS),
    failures=_figures("http_4xx", "http_429"),
    cost=_COST,
    rate_limited=_figures("requests", "gave_up", "waited_s", "share_of_time"),
    capacity=_figures("agents_low", "agents_high", "confidence"),
    fleet=_figures("preemptions", tiers=dict.fromkeys(TIERS, _TIER)),
    per_gpu=_figures("gpus", "output_tokens_per_s"),
    money=_MONEY,
)


def known(dotted: str) -> str:
    """Return the name of a figure; raise ValueError with the names beside it where there is none of it."""
    names: Names | None = FIGURES
    path: list[str] = []
    for part in dotted.split("."):
        if names is None:
            raise ValueError(f"{'.'.join(path)} is a figure, with nothing below it")
        if part not in names:
            break
        names = names[part]
        path.append(part)
    if names is not None:
        where = f"{'.'.join(path)} has" if path else "figures of a simulation begin with"
        raise ValueError(f"no such figure of a simulation; {where} {', '.join(names)}")
    return dotted


Figure = Annotated[str, AfterValidator(known)]
