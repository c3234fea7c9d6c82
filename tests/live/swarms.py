"""Small runs without Ray: an experiment, a server for its fleet, and the driver over local processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import ProcessLauncher
from scripted_launcher import Seen
from serving import served

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.interrupts import Interrupts
from swarm.live.driver.drive import drive
from swarm.live.driver.driver import RunEnd
from swarm.live.driver.recovered import Recovered
from swarm.live.host_plan import HostPlan
from swarm.measure.results import Results, results_of
from swarm.records.batch import Batch
from swarm.records.journal import read_batches
from swarm.workload.source import load_scripts

FLEET = {
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 5e6,
        "decode_base_s": 0.002,
        "kv_capacity_tokens": 50_000_000,
    }
}
WORKLOAD = {
    "kind": "synthetic",
    "tool_tokens": 300,
    "system_tokens": 100,
    "first_context": {"median": 200, "sigma": 0.3},
    "turns": {"median": 8, "sigma": 0.4, "least": 4, "most": 14},
    "tool_think_s": {"median": 0.08, "sigma": 0.4},
    "human_wait": {"body": {"median": 0.2, "sigma": 0.3}, "tail_share": 0.0},
    "tool_result": {"median": 40, "sigma": 0.4},
    "human_message": {"median": 20, "sigma": 0.4},
    "output": {"median": 12, "sigma": 0.4, "least": 4, "most": 30},
    "high_watermark": 1000,
    "summary": {"median": 40, "sigma": 0.2, "least": 20, "most": 80},
    "subagents": {"chance_per_turn": 0.2, "turns": {"median": 3, "sigma": 0.3, "least": 2, "most": 5}},
}


def experiment(**changes: Any) -> Experiment:
    """Return a small experiment; keys with dots go into its parts."""
    data: dict[str, Any] = {
        "name": "small",
        "workload": dict(WORKLOAD),
        "load": {"agents": 8, "ramp_s": 0.3, "sessions_max": 12, "duration_s": None, "drain_s": 1.0},
        "hosts": {"count": 2, "report_every_s": 0.2},
        "fleet": dict(FLEET),
        "audit": {"loop_lag_p99_s": 60, "event_lateness_p99_s": 60, "send_lag_p99_s": 60},
        "window_s": 1.0,
    }
    for key, value in changes.items():
        part, _, name = key.partition("__")
        if name:
            data.setdefault(part, {})[name] = value
        else:
            data[part] = value
    return validate(Experiment, data, "test")


def provider(config: Experiment, port: int = 0) -> AbstractContextManager[int]:
    """Serve the experiment's fleet from a thread; enter for the port."""
    return served(config.fleet, port)


def aimed(config: Experiment, port: int) -> Experiment:
    """Return the experiment with its target resolved."""
    update = {"urls": (f"http://127.0.0.1:{port}",), "model": "fleet", "bytes_per_token": 4.0}
    return config.model_copy(update={"target": config.target.model_copy(update=update)})


@dataclass(frozen=True)
class Driven:
    """A run that was driven to its end."""

    config: Experiment
    journals: Path
    end: RunEnd
    notes: list[str]
    plans: list[HostPlan]
    """Of every host that was started, in order."""

    def batches(self) -> list[Batch]:
        """Return what is in the journals."""
        return read_batches(sorted(self.journals.glob("*.journal")))

    def results(self) -> Results:
        """Add up what is in the journals."""
        return results_of(
            self.batches(),
            self.config,
            ended_s=max(self.end.at_s, 0.1),
            faults=self.end.faults,
            counters=self.end.counters,
            sessions_asked_mean=self.end.sessions_asked_mean,
            clock_offsets_s=self.end.clock_offsets_s,
        )


def driven(
    config: Experiment,
    journals: Path,
    *,
    interrupts: Interrupts | None = None,
    on_batch: Callable[[ProcessLauncher, Batch], None] = lambda launcher, batch: None,
    recovered: Recovered | None = None,
    stop_drain_s: float | None = None,
) -> Driven:
    """Drive a run over local processes; `on_batch` sees each report as it comes."""
    journals.mkdir(parents=True, exist_ok=True)
    launcher, progress = ProcessLauncher(on_batch), Seen()
    end = drive(
        config,
        load_scripts(config.workload, config.seed, config.load.agents),
        journals,
        launcher,
        begin=lambda: None,
        interrupts=interrupts or Interrupts(),
        progress=progress,
        recovered=recovered,
        stop_drain_s=stop_drain_s,
    )
    return Driven(config, journals, end, progress.notes, launcher.plans)
