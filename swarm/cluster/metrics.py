"""A run's state as Ray's metrics, which every node's agent exports to Prometheus.

They lag about ten seconds behind: for dashboards, never for results. Ray puts `ray_` before every name, and
`_total` after a counter's.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from swarm.config.experiment import Experiment
from swarm.live.coordinator import Snapshot
from swarm.measure.increments import Increments
from swarm.measure.window import windows_of

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


class Metrics:
    """Gauges, counters and histograms, labelled with the run."""

    def __init__(self, experiment: Experiment, run_id: str) -> None:
        self._experiment = experiment
        self._tags = {"run": run_id}
        self._levels = {name: _gauge(name, text) for name, text in LEVELS.items()}
        sums = dict(SUMS)
        if not experiment.slo:
            del sums["good"]
        self._sums = {name: _counter(name, text, "run") for name, text in sums.items()}
        self._counts = {name: _counter(name, text, "run") for name, text in COUNTS.items()}
        self._failures = _counter(FAILURES, "Failed requests by class.", "run", "class")
        self._latencies = {
            name: Histogram(_named(name), description=text, boundaries=list(BOUNDS_S), tag_keys=("run",))
            for name, text in LATENCIES.items()
        }
        self._increments = Increments(BOUNDS_S)
        self._told: dict[str, int] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Bring every metric to what the snapshot says."""
        for name, gauge in self._levels.items():
            gauge.set(float(getattr(snapshot, name)), tags=self._tags)
        for name, counter in self._sums.items():
            self._add(counter, self._since_told(name, getattr(snapshot, name)), self._tags)
        for kind, total in snapshot.failures.items():
            more = self._since_told(f"{FAILURES} {kind}", total)
            self._add(self._failures, more, {**self._tags, "class": kind})
        windows = windows_of(self._experiment)
        windows.merge_bytes(snapshot.windows)
        counts, observed = self._increments.since_last(windows)
        for name, counter in self._counts.items():
            self._add(counter, counts[name], self._tags)
        for name, histogram in self._latencies.items():
            for value, times in observed[name]:
                for _ in range(times):
                    histogram.observe(value, tags=self._tags)

    def _since_told(self, name: str, total: int) -> int:
        more = total - self._told.get(name, 0)
        self._told[name] = total
        return more

    @staticmethod
    def _add(counter: Counter, more: int, tags: dict[str, str]) -> None:
        # A coordinator that was started again may know less for a moment; counters only grow.
        if more > 0:
            counter.inc(more, tags=tags)


def exported() -> dict[str, str]:
    """Return each metric's name as Prometheus sees it, and its kind."""
    counters = [*SUMS, *COUNTS, FAILURES]
    return {
        **{f"ray_{_named(name)}": "gauge" for name in LEVELS},
        **{f"ray_{_named(name)}_total": "counter" for name in counters},
        **{f"ray_{_named(name)}": "histogram" for name in LATENCIES},
    }


def _named(name: str) -> str:
    return f"swarm_{name}"


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(_named(name), description=text, tag_keys=("run",))


def _counter(name: str, text: str, *tags: str) -> Counter:
    return Counter(_named(name), description=text, tag_keys=tags)
