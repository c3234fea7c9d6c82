"""A run's state as Ray's metrics, which every node's agent exports to Prometheus.

They lag about ten seconds behind: for dashboards, never for results.
"""

from __future__ import annotations

from ray.util.metrics import Gauge

from swarm.live.coordinator import Snapshot

FIGURES = {
    "hosts": "Hosts that have reported.",
    "live_orchestrators": "Orchestrators between their start and their end.",
    "live_subagents": "Sub-agents between their start and their end.",
    "open_requests": "Requests sent and unfinished.",
    "sessions_started": "Sessions started since the run's start.",
    "sessions_finished": "Sessions that came to their own end.",
    "sent": "Requests sent since the run's start.",
    "batches": "Reports taken by the coordinator.",
    "batches_doubled": "Reports that came again and were not counted again.",
}


class Metrics:
    """One gauge for each figure, labelled with the run."""

    def __init__(self, run_id: str) -> None:
        self._tags = {"run": run_id}
        self._gauges = {
            name: Gauge(f"swarm_{name}", description=text, tag_keys=("run",))
            for name, text in FIGURES.items()
        }

    def show(self, snapshot: Snapshot) -> None:
        """Set every gauge to what the snapshot says."""
        for name, gauge in self._gauges.items():
            gauge.set(float(getattr(snapshot, name)), tags=self._tags)
