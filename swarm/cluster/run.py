"""`swarm run`: a target, hosts and a coordinator on Ray, from the first turn to the run folder."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from swarm.cluster.actors import RemoteCoordinator, RemoteHost, RemoteProvider
from swarm.cluster.clocks import clock_offsets
from swarm.cluster.interrupts import Interrupts
from swarm.cluster.session import ray_session
from swarm.config.experiment import Experiment
from swarm.errors import RunError
from swarm.live.coordinator import CoordinatorPlan, Snapshot
from swarm.live.host import HostPlan
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.control import resolve, server_counters
from swarm.live.targets.counters import difference
from swarm.live.targets.fidelity import measured
from swarm.load.asked import asked_sessions_mean
from swarm.load.pacing import pacing_of
from swarm.measure.settle import read_batches, settle
from swarm.measure.store import RunFolder
from swarm.measure.totals import ServerCounters, facts_of
from swarm.report.ending import finish
from swarm.report.terminal import Live
from swarm.workload.script import SessionScript
from swarm.workload.source import load_scripts, open_source

START_DELAY_S = 0.5
"""Between the last host's readiness and the run's time 0, so that all clocks are set before it."""
POLL_S = 0.5
READY_S_MAX = 300.0
AGENTS_PER_HOST = 500
"""Sessions that one host is given before another one is started, where the experiment does not say."""


def run_live(experiment: Experiment, out: Path | None) -> int:
    """Carry out an experiment; return the exit code."""
    scripts = load_scripts(experiment.workload)
    started = datetime.now(UTC)
    run_id = f"{experiment.name}-{started:%Y%m%dT%H%M%S}"
    folder = RunFolder.create(out if out is not None else Path("results") / run_id)
    with Interrupts() as interrupts, ray_session(name=run_id):
        swarm = Swarm(experiment, scripts, folder)
        try:
            end = swarm.drive(interrupts)
        finally:
            swarm.close()
    settled = settle(
        read_batches(sorted(folder.journals.glob("*.journal"))),
        experiment,
        ended_s=end.at_s,
        faults=end.faults,
        counters=end.counters,
        sessions_asked_mean=end.sessions_asked_mean,
        clock_offsets_s=end.clock_offsets_s,
    )
    facts = facts_of(experiment, run_id=run_id, mode="live", is_emulated=not experiment.target.urls)
    return finish(folder, experiment, facts, settled, signal_number=interrupts.received)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """When the load ended, and what went wrong."""

    at_s: float
    faults: tuple[str, ...]
    counters: ServerCounters | None
    sessions_asked_mean: float | None
    clock_offsets_s: dict[int, float]


class Swarm:
    """The actors of one run."""

    def __init__(self, experiment: Experiment, scripts: tuple[SessionScript, ...], folder: RunFolder) -> None:
        self._here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._provider: Any = None
        self._experiment = self._with_target(experiment)
        journal = str(folder.journals.resolve())
        self._coordinator = RemoteCoordinator.options(scheduling_strategy=self._here).remote(  # type: ignore[attr-defined]
            CoordinatorPlan(self._experiment, journal)
        )
        source = open_source(experiment.workload, experiment.seed, scripts)
        self._pacing = pacing_of(experiment.load, source.count)
        slots = self._pacing.slots
        hosts = host_count(experiment, slots, int(ray.cluster_resources().get("CPU", 1)))
        shipped = ray.put(scripts)
        options = {"scheduling_strategy": "SPREAD", "num_cpus": experiment.hosts.cpus_per_host}
        self._hosts = [
            RemoteHost.options(**options).remote(  # type: ignore[attr-defined]
                HostPlan(self._experiment, host=host, hosts=hosts, epoch=0, journal=journal),
                shipped,
                self._coordinator,
                experiment.hosts.agents_per_host == 1,
            )
            for host in range(hosts)
        ]

    def drive(self, interrupts: Interrupts) -> RunEnd:
        """Start all hosts at one time and wait for the last of them."""
        try:
            ray.get([host.clock.remote() for host in self._hosts], timeout=READY_S_MAX)
        except ray.exceptions.GetTimeoutError:
            raise RunError(
                f"{len(self._hosts)} hosts were not ready within {READY_S_MAX:.0f} s; "
                "has the cluster the CPUs that hosts.count x hosts.cpus_per_host ask for?"
            ) from None
        offsets_s = clock_offsets(self._hosts)
        counted = asyncio.run(server_counters(self._experiment.target))
        start_unix_s = time.time() + START_DELAY_S
        running = {host.run.remote(start_unix_s): number for number, host in enumerate(self._hosts)}
        faults: list[str] = []
        stopped_s: float | None = None
        with Live(self._experiment) as live:
            while running:
                done, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL_S)
                for one in done:
                    self._note_end(one, running.pop(one), faults)
                live.show(self._snapshot())
                if interrupts.received is not None and stopped_s is None:
                    stopped_s = time.time() - start_unix_s
                    for host in self._hosts:
                        host.stop.remote()
        ended_s = self._ended_s(stopped_s, time.time() - start_unix_s)
        counters = difference(counted, asyncio.run(server_counters(self._experiment.target)))
        asked = asked_sessions_mean(self._pacing, from_s=self._experiment.load.warmup_s, to_s=ended_s)
        return RunEnd(ended_s, tuple(faults), counters, asked, offsets_s)

    def close(self) -> None:
        """End the provider, if it is ours."""
        if self._provider is not None:
            ray.get(self._provider.stop.remote())

    def _with_target(self, experiment: Experiment) -> Experiment:
        """Return the experiment with a server to drive: its own, started here, where it names none."""
        target = experiment.target
        if not target.urls:
            self._provider = RemoteProvider.options(scheduling_strategy=self._here).remote()  # type: ignore[attr-defined]
            url = ray.get(self._provider.start.remote(experiment.fleet, "127.0.0.1"))
            target = target.model_copy(
                update={"urls": (url,), "bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0}
            )
        target = asyncio.run(measured(asyncio.run(resolve(target))))
        return experiment.model_copy(update={"target": target})

    def _snapshot(self) -> Snapshot:
        snapshot: Snapshot = ray.get(self._coordinator.snapshot.remote())
        return snapshot

    def _note_end(self, one: Any, number: int, faults: list[str]) -> None:
        try:
            ray.get(one)
        except ray.exceptions.RayError as fault:
            faults.append(f"host {number} was lost: {str(fault).strip().splitlines()[-1]}")

    def _ended_s(self, stopped_s: float | None, now_s: float) -> float:
        limit_s = self._experiment.load.duration_s
        ends = [at_s for at_s in (stopped_s, limit_s) if at_s is not None]
        return min(ends, default=now_s)


def host_count(experiment: Experiment, slots: int, cpus: int) -> int:
    """Return how many hosts share the slots: as asked for, else one for each spare CPU that is needed."""
    hosts = experiment.hosts
    if hosts.count is not None:
        return min(hosts.count, slots)
    if hosts.agents_per_host is not None:
        return math.ceil(slots / hosts.agents_per_host)
    return max(1, min(cpus - 1, math.ceil(slots / AGENTS_PER_HOST)))
