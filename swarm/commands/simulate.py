"""`swarm simulate`: an experiment in virtual time, from its file to its run folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarm.commands.ending import finish, record
from swarm.commands.live_page import page_beside
from swarm.commands.places import default_folder
from swarm.config.experiment import Experiment
from swarm.interrupts import Interrupts
from swarm.measure.measured_run import MeasuredRun
from swarm.records.origin import command, origin_of
from swarm.records.run_folder import RunFolder, simulated_run_id, unused
from swarm.report.live.course import Course
from swarm.report.live.simulation import Watching
from swarm.sim.kernel import SimulationWatch
from swarm.sim.run import simulated
from swarm.workload.source import Material


def run_simulated(
    experiment: Experiment,
    out: Path | None,
    *,
    beside: Mapping[str, str] | None = None,
    shows_page: bool = False,
) -> int:
    """Carry out an experiment in virtual time; return the exit code.

    Texts `beside` are written into the run folder, by name. A signal ends it where it is: the folder then
    holds the run up to there. With `shows_page` a page in another process shows how it goes on.
    """
    run_id = simulated_run_id(experiment)
    folder = RunFolder.create(out if out is not None else unused(default_folder(run_id)))
    course = Course(folder.path)
    with Interrupts() as interrupts, page_beside(folder.path, wanted=shows_page):
        watching = Watching(experiment, interrupts, sys.stderr, course)
        origin = origin_of(run_id=run_id, mode="simulate", seed=experiment.seed, by_command=command())
        course.tell("begin", name=experiment.name, mode="simulate", until_s=experiment.load.duration_s)
        try:
            run = _recorded(experiment, folder, watching, origin, None)
        except BaseException:
            course.close()
            raise
        finally:
            folder.discard_unbegun()
        for name, text in (beside or {}).items():
            folder.write_text(name, text)
        watching.close()
        try:
            return finish(
                folder,
                experiment,
                run.facts,
                run.results,
                signal_number=interrupts.received,
                is_asked=interrupts.is_asked,
            )
        finally:
            course.close()


def simulate_into(
    experiment: Experiment,
    folder: RunFolder,
    made_with: dict[str, Any],
    material: Material | None = None,
) -> dict[str, Any]:
    """Carry out an experiment in virtual time, for its records alone; return the summary.

    `material` is what `load_scripts` gave, where several runs share it.
    """
    run_id = simulated_run_id(experiment)
    origin = {"run_id": run_id, "mode": "simulate", "seed": experiment.seed, **made_with}
    run = _recorded(experiment, folder, None, origin, material)
    return record(folder, experiment, run.facts, run.results, signal_number=None)


def _recorded(
    experiment: Experiment,
    folder: RunFolder,
    watch: SimulationWatch | None,
    origin: dict[str, Any],
    material: Material | None,
) -> MeasuredRun:
    """Simulate, and write what was asked for into the run folder."""
    run = simulated(experiment, watch=watch, material=material)
    folder.write_run(experiment, origin)
    folder.add_notes(list(run.left_out))
    return run
