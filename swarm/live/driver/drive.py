"""A live run on whatever starts its processes: the target made ready, the driver wired, everything closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.interrupts import Interrupts
from swarm.live.clock import Clock, SystemClock
from swarm.live.coordinator import CoordinatorPlan
from swarm.live.driver.coordinator_contact import CoordinatorContact
from swarm.live.driver.driver import Driver, RunEnd
from swarm.live.driver.launcher import Launcher
from swarm.live.driver.load_time import LoadTime
from swarm.live.driver.placement import host_count
from swarm.live.driver.plans import HostPlans
from swarm.live.driver.progress import RunProgress
from swarm.live.driver.recovered import Recovered
from swarm.live.driver.server_watch import ServerWatch
from swarm.live.driver.swarm import Swarm
from swarm.live.driver.target import with_target
from swarm.live.searching import Searching
from swarm.live.targets.control import server_counters
from swarm.load.pacing import pacing_of
from swarm.measure.server_time import ServerSample, counted, restarts_s
from swarm.measure.totals import ServerCounters
from swarm.workload.source import Material, open_source


def drive(
    experiment: Experiment,
    material: Material,
    journals: Path,
    launcher: Launcher,
    *,
    begin: Callable[[], None],
    interrupts: Interrupts,
    progress: RunProgress,
    recovered: Recovered | None,
    run_id: str | None = None,
) -> RunEnd:
    """Carry out a run, journaled in a folder; `begin` is called when its hosts are about to play.

    Raises Interrupted where a signal comes before that, RunError where the run cannot be carried out.
    """
    try:
        aimed = with_target(experiment, launcher)
        watch = ServerWatch(aimed.target, SystemClock(), every_s=experiment.window_s)

        def begin_watched() -> None:
            watch.start()
            begin()

        driver = driver_of(
            aimed,
            material,
            journals,
            launcher,
            clock=SystemClock(),
            counters=lambda: asyncio.run(server_counters(aimed.target)),
            progress=progress,
            recovered=recovered,
            run_id=run_id,
        )
        try:
            end = driver.drive(interrupts, begin_watched)
        finally:
            watch.end()
        return seen_by(watch.stop(end.start_unix_s), end)
    finally:
        launcher.close()


def seen_by(samples: tuple[ServerSample, ...], end: RunEnd) -> RunEnd:
    """Return the end of a run with what was seen of its server; counters go on through its restarts."""
    counters = counted(samples) if restarts_s(samples) else end.counters
    return replace(end, server=samples, counters=counters)


def driver_of(
    experiment: Experiment,
    material: Material,
    journals: Path,
    launcher: Launcher,
    *,
    clock: Clock,
    counters: Callable[[], ServerCounters | None],
    progress: RunProgress,
    recovered: Recovered | None,
    run_id: str | None = None,
) -> Driver:
    """Return the driver of a run whose target is resolved; its coordinator is started."""
    epoch = 0 if recovered is None else recovered.epoch
    coordinator = CoordinatorContact(CoordinatorPlan(experiment, str(journals), epoch), launcher, clock)
    source = open_source(experiment.workload, experiment.seed, material)
    pacing = pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
    hosts_count = host_count(experiment, pacing.slots, launcher.cpus_count())
    launcher.ship(material)
    swarm = Swarm(
        HostPlans(experiment, pacing, hosts_count=hosts_count, journals=journals, run_id=run_id),
        launcher,
        clock=clock,
        coordinator=coordinator,
        epoch=epoch,
        journals=journals,
        progress=progress,
    )
    searching = None
    if experiment.load.search is not None:
        searching = Searching(
            experiment,
            journals / "coordinator-0.journal",
            most=pacing.slots,
            direct=swarm.processes.direct,
            note=progress.note,
        )
    return Driver(
        experiment,
        pacing,
        coordinator=coordinator,
        counters=counters,
        load=LoadTime(experiment.load, clock),
        progress=progress,
        recovered=recovered,
        searching=searching,
        swarm=swarm,
    )
