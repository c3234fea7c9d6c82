"""An experiment in virtual time: sessions, kernel and fleet wired together, and what came of it."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from swarm.config.experiment import Experiment
from swarm.config.workload import ReplayConfig
from swarm.errors import ProgramError
from swarm.fleet.build import build_fleet
from swarm.fleet.tier_states import tier_states
from swarm.load.admission import AdmissionControl
from swarm.load.pacing import pacing_of
from swarm.measure.measured_run import MeasuredRun
from swarm.measure.notes import skipped_told
from swarm.measure.results import Results
from swarm.measure.totals import facts_of
from swarm.records.run_folder import simulated_run_id
from swarm.sim.breakpoints import breakpoints_of
from swarm.sim.kernel import Kernel, SimulationWatch
from swarm.sim.recorder import Recorder
from swarm.sim.searching import SimulatedSearch
from swarm.sim.sessions import Sessions
from swarm.workload.source import Material, left_out, load_scripts, open_source

GC_THRESHOLDS = (1_000_000, 20, 20)


def simulated(
    experiment: Experiment, *, watch: SimulationWatch | None = None, material: Material | None = None
) -> MeasuredRun:
    """Carry out an experiment in virtual time; the same experiment and seed give the same to the byte.

    `material` is what `load_scripts` gave, where several runs share it. `watch` may end the run early.
    """
    if material is None:
        material = load_scripts(experiment.workload, experiment.seed, experiment.load.agents)
    results = simulate(experiment, material, watch)
    facts = facts_of(experiment, run_id=simulated_run_id(experiment), mode="simulate", is_emulated=True)
    notes = left_out(experiment, material)
    notes += skipped_told(results.skipped_s)
    return MeasuredRun(results, facts, tuple(notes))


def simulate(experiment: Experiment, scripts: Material, watch: SimulationWatch | None = None) -> Results:
    """Return the rows, totals and windows of an experiment in virtual time."""
    source = open_source(experiment.workload, experiment.seed, scripts)
    pacing = pacing_of(experiment.load, source.count, experiment.seed, source.arrivals_s)
    load, gate = experiment.load, experiment.load.admission
    fleet = build_fleet(experiment.fleet)
    fleet.count_busy(load.warmup_s, math.inf if load.duration_s is None else load.duration_s)
    recorder = Recorder(experiment, pacing)
    kernel = Kernel(
        fleet,
        recorder,
        retry=experiment.target.retry,
        seed=experiment.seed,
        admission=None if gate is None else AdmissionControl(gate, hosts=1),
        watch=watch,
        breakpoints=breakpoints_of(
            experiment.target, experiment.fleet.serving.cacheable_least(experiment.target.model or "")
        ),
        idle_max_s=_idle_max_s(experiment),
    )
    sessions = Sessions(source, pacing, kernel)
    with _few_collections(), closing(kernel):
        try:
            if load.search is not None:
                search = SimulatedSearch(
                    experiment, kernel, fleet, sessions, recorder, slots_count=pacing.slots
                )
                ended_s = search.run()
                kernel.drain(ended_s + load.drain_s)
                return recorder.results(
                    kernel, ended_s, capacity=search.answer(), fleet=search.counters(), faults=()
                )
            recorder.watch(partial(tier_states, fleet))
            if load.duration_s is None:
                sessions.run(math.inf)
                ended_s = kernel.now_s
            else:
                sessions.run(load.duration_s)
                ended_s = kernel.now_s if kernel.is_stopped else load.duration_s
                kernel.drain(load.duration_s + load.drain_s)
            faults: tuple[str, ...] = ()
        except ProgramError as fault:
            # What was recorded until then is kept; the fault says not to believe it.
            faults = (str(fault),)
            ended_s = kernel.now_s
        fleet.audit()
        busy = fleet.busy(max(ended_s, kernel.now_s))
        return recorder.results(
            kernel, ended_s, capacity=None, fleet=fleet.counters(), faults=faults, busy=busy
        )


def _idle_max_s(experiment: Experiment) -> float | None:
    workload = experiment.workload
    return workload.system_idle_cap_s if isinstance(workload, ReplayConfig) else None


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look seldom: a simulation's objects form next to no cycles.

    At the end they all count as old: a look at the young ones would go through every one of them.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
