"""A run's state as Ray's metrics, which every node's agent exports to Prometheus.

They lag about ten seconds behind: for dashboards, never for results. Ray puts `ray_` before every name, and
`_total` after a counter's.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from swarm.config.experiment import Experiment
from swarm.live.coordinator import Snapshot
from swarm.measure.increments import Increments
from swarm.measure.metric_names import BOUNDS_S, COUNTS, FAILURES, LATENCIES, LEVELS, SUMS, named
from swarm.measure.window import windows_of


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
            name: Histogram(named(name), description=text, boundaries=list(BOUNDS_S), tag_keys=("run",))
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


def _gauge(name: str, text: str) -> Gauge:
    return Gauge(named(name), description=text, tag_keys=("run",))


def _counter(name: str, text: str, *tags: str) -> Counter:
    return Counter(named(name), description=text, tag_keys=tags)
