"""Names of a run's metrics: the same while it runs, by Ray's agents, and after it, as OpenMetrics."""

from __future__ import annotations

LEVELS = {
    "hosts": "Hosts that have reported.",
    "live_orchestrators": "Orchestrators between their start and their end.",
    "live_subagents": "Sub-agents between their start and their end.",
    "open_requests": "Requests sent and unfinished.",
}
"""Of a snapshot, as gauges."""
SUMS = {
    "sessions_started": "Sessions started.",
    "sessions_finished": "Sessions that came to their own end.",
    "sent": "Requests sent.",
    "batches": "Reports taken by the coordinator.",
    "batches_doubled": "Reports that came again and were not counted again.",
    "good": "Requests that finished within every objective.",
}
"""Of a snapshot, as counters."""
COUNTS = {
    "finished": "Requests finished.",
    "failed": "Requests failed.",
    "prompt_tokens": "Prompt tokens of finished requests.",
    "known_prompt_tokens": "Those of them of requests whose cached tokens the target tells.",
    "cached_tokens": "Prompt tokens that the target found in its caches.",
    "ideal_tokens": "Prompt tokens that no limit would have kept from being found.",
    "output_tokens": "Tokens received.",
}
"""Of the windows, as counters."""
FAILURES = "failures"
"""Failed requests, by class."""
LATENCIES = {
    "ttft_s": "First byte sent to first delta, in seconds.",
    "effective_ttft_s": "Due to first delta, in seconds.",
    "tpot_s": "Time per output token, in seconds.",
    "send_lag_s": "By how much a request was sent late, in seconds.",
}
"""Of the windows' sketches, as histograms. Ray makes up their sums from the buckets."""
BOUNDS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0),
)


def named(name: str) -> str:
    """Return a metric's name as Ray is told it; Ray puts `ray_` before it."""
    return f"swarm_{name}"


def exported() -> dict[str, str]:
    """Return each metric's name as Prometheus sees it, and its kind."""
    counters = [*SUMS, *COUNTS, FAILURES]
    return {
        **{f"ray_{named(name)}": "gauge" for name in LEVELS},
        **{f"ray_{named(name)}_total": "counter" for name in counters},
        **{f"ray_{named(name)}": "histogram" for name in LATENCIES},
    }
