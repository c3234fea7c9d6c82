"""A run's time series as OpenMetrics: what its Prometheus would have scraped, one sample a window.

Names are those that Ray exports while a run goes on, so one dashboard shows both. Latencies are histograms
made from the windows' sketches; a bucket's count is right but for values within 0.5 % of its bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest

from swarm.measure.metric_names import BOUNDS_S, COUNTS, LATENCIES, named
from swarm.measure.sketch import Sketch
from swarm.records.run_folder import WINDOWS, RunFolder

LEVELS = {
    "live_orchestrators_mean": ("live_orchestrators", "Orchestrators between their start and their end."),
    "live_subagents_mean": ("live_subagents", "Sub-agents between their start and their end."),
    "open_requests_mean": ("open_requests", "Requests sent and unfinished."),
}
SERVER = {
    "server_running": "Requests that the server ran, by its own counters.",
    "server_waiting": "Requests that waited in the server.",
    "server_kv_use": "Share of the server's KV memory in use, 0 to 1.",
}
SENT = "Requests sent."
GREATEST = "+Inf"


def openmetrics(folder: RunFolder) -> bytes:
    """Return the windows of a run as samples with the times at which they ended, in Unix seconds."""
    return bytes(generate_latest(_Collector(folder)))  # type: ignore[no-untyped-call]


class _Collector:
    """What the library asks for metrics; each family is all samples of one name."""

    def __init__(self, folder: RunFolder) -> None:
        self._run = str(folder.summary()["run_id"])
        frame = folder.windows().to_pandas()
        frame = frame[frame["host"].isna() & frame["endpoint"].isna()].sort_values("start_s")
        self._frame = frame
        self._at_s = begun_s(folder, frame) + frame["end_s"].to_numpy(dtype=np.float64)

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        for column, (name, text) in LEVELS.items():
            yield self._family(GaugeMetricFamily, name, text, self._frame[column])
        for column, text in SERVER.items():
            if column in self._frame and self._frame[column].notna().any():
                yield self._family(GaugeMetricFamily, column, text, self._frame[column])
        for column, text in {"sent": SENT, **COUNTS}.items():
            yield self._family(CounterMetricFamily, column, text, self._frame[column].fillna(0).cumsum())
        for name, text in LATENCIES.items():
            yield self._histogram(name, text)

    def _family(self, kind: Callable[..., Any], name: str, text: str, values: Any) -> Metric:
        family = kind(f"ray_{named(name)}", text, labels=("run",))
        for value, at_s in zip(values, self._at_s, strict=True):
            if value == value:
                family.add_metric((self._run,), float(value), timestamp=float(at_s))
        assert isinstance(family, Metric)
        return family

    def _histogram(self, name: str, text: str) -> Metric:
        family = HistogramMetricFamily(f"ray_{named(name)}", text, labels=("run",))
        counts, total = np.zeros(len(BOUNDS_S) + 1, dtype=np.int64), 0.0
        ends = (*(str(bound) for bound in BOUNDS_S), GREATEST)
        for content, at_s in zip(self._frame[f"{name}_sketch"], self._at_s, strict=True):
            if isinstance(content, bytes):
                sketch = Sketch()
                sketch.merge_bytes([content])
                counts += np.array(sketch.counts_between(BOUNDS_S))
                total += sketch.total
            buckets = list(zip(ends, map(float, counts.cumsum()), strict=True))
            family.add_metric((self._run,), buckets, sum_value=total, timestamp=float(at_s))
        return family


def begun_s(folder: RunFolder, frame: Any) -> float:
    """Return the Unix time of a run's 0; of a simulation that at which its last window ends with its file."""
    started = folder.run().get("started")
    if started is not None:
        return datetime.fromisoformat(str(started)).timestamp()
    ends: Sequence[float] = frame["end_s"]
    return Path(folder.path / WINDOWS).stat().st_mtime - max(ends, default=0.0)
