"""A live run on whatever starts its processes: the target made ready, the driver wired, everything closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.config.target import TargetConfig
from swarm.interrupts import Interrupts
from swarm.live.clock import Clock, SystemClock
from swarm.live.coordinator import CoordinatorPlan
from swarm.live.driver.busy_watch import Ask, BusyWatch
from swarm.live.driver.coordinator_contact import CoordinatorContact
from swarm.live.driver.driver import Driver, RunEnd
from swarm.live.driver.host_cost import coordinator_cores, cost_of, front_cores
from swarm.live.driver.launcher import Launcher
from swarm.live.driver.load_time import LoadTime
from swarm.live.driver.placement import host_count, hosts_needed
from swarm.live.driver.plans import HostPlans
from swarm.live.driver.progress import RunProgress
from swarm.live.driver.recovered import Recovered
from swarm.live.driver.server_watch import ENDING_S_MAX, ServerWatch
from swarm.live.driver.shares import Shares
from swarm.live.driver.swarm import Swarm
from swarm.live.driver.target import with_target
from swarm.live.targets.control import server_busy, server_counters
from swarm.load.expected_work import ExpectedWork, expected_work
from swarm.load.pacing import pacing_of
from swarm.measure.server_time import ServerSample, counted, restarts_s
from swarm.measure.totals import ServerCounters
from swarm.workload.source import Material, open_source

SIGNALLED_S_MAX = 1.0
"""How long the results wait for the target's counters once a signal has come: jobs are killed 3 s after."""


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
    stop_drain_s: float | None = None,
) -> RunEnd:
    """Carry out a run, journaled in a folder; `begin` is called when its hosts are about to play.

    `stop_drain_s` is what a signal leaves requests in flight; None: all of the load's drain.

    Raises Interrupted where a signal comes before that, RunError where the run cannot be carried out.
    """
    try:
        interrupts.heed()
        with interrupts.at_once():
            aimed = with_target(experiment, launcher)
            watch = ServerWatch(aimed.target, SystemClock(), every_s=experiment.window_s)
            driver = driver_of(
                aimed,
                material,
                journals,
                launcher,
                clock=SystemClock(),
                counters=lambda: asyncio.run(_counted(aimed.target, interrupts, progress.note)),
                ask_busy=lambda at_s: asyncio.run(server_busy(aimed.target, at_s)),
                progress=progress,
                recovered=recovered,
                run_id=run_id,
                stop_drain_s=stop_drain_s,
                serves_here=not experiment.target.urls and experiment.hosts.provider_fronts == 1,
            )

        def begin_watched() -> None:
            watch.start()
            begin()

        try:
            end = driver.drive(interrupts, begin_watched)
        finally:
            watch.end()
        is_hurried = interrupts.received is not None
        samples = watch.stop(end.start_unix_s, within_s=SIGNALLED_S_MAX if is_hurried else ENDING_S_MAX)
        return seen_by(samples, end)
    finally:
        launcher.close()


async def _counted(
    target: TargetConfig, interrupts: Interrupts, note: Callable[[str], None]
) -> ServerCounters | None:
    """Return what the target has counted; None where that takes long and a signal waits for the results."""
    within_s = None if interrupts.received is None else SIGNALLED_S_MAX
    try:
        return await asyncio.wait_for(server_counters(target, note), within_s)
    except TimeoutError:
        return None


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
    ask_busy: Ask,
    progress: RunProgress,
    recovered: Recovered | None,
    run_id: str | None = None,
    stop_drain_s: float | None = None,
    serves_here: bool = False,
) -> Driver:
    """Return the driver of a run whose target is resolved; its coordinator is started.

    `serves_here`: the target is the emulated fleet, on the driver's own node.
    """
    plan = CoordinatorPlan.of(experiment, str(journals), epoch=0 if recovered is None else recovered.epoch)
    coordinator = CoordinatorContact(plan, launcher, clock)
    source = open_source(experiment.workload, experiment.seed, material)
    pacing = pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
    work = expected_work(source, pacing.slots)
    shares = shares_of(experiment, work, pacing.slots, launcher, serves_here=serves_here)
    launcher.ship(material)
    swarm = Swarm(
        HostPlans(experiment, pacing, hosts_count=shares.hosts_count, journals=journals, run_id=run_id),
        launcher,
        clock=clock,
        coordinator=coordinator,
        epoch=plan.epoch,
        journals=journals,
        progress=progress,
    )
    searching = None
    if experiment.load.search is not None:
        from swarm.live.searching import Searching

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
        servers=BusyWatch(ask_busy, from_s=experiment.load.warmup_s),
        shares=shares,
        swarm=swarm,
        stop_drain_s=stop_drain_s,
    )


def shares_of(
    experiment: Experiment, work: ExpectedWork, slots: int, launcher: Launcher, *, serves_here: bool
) -> Shares:
    """Return what the hosts are to carry, and what else the driver's node is."""
    hosts, cost = experiment.hosts, cost_of(work, slots)
    count = host_count(experiment, slots, launcher.cpus_count(), cost)
    here = coordinator_cores(work, slots, count, hosts.report_every_s)
    if serves_here:
        here += front_cores(work, slots)
    return Shares(cost, count, hosts_needed(experiment, cost), {launcher.here(): here})
