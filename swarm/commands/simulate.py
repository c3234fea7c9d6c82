"""`swarm simulate`: an experiment in virtual time, from its file to its run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from swarm.commands.ending import finish, record
from swarm.config.experiment import Experiment
from swarm.interrupts import Interrupts
from swarm.measure.results import Results
from swarm.measure.totals import RunFacts, facts_of
from swarm.records.origin import command, origin_of
from swarm.records.run_folder import RunFolder, simulated_run_id
from swarm.report.live.simulation import Watching
from swarm.sim.run import Watch, simulate
from swarm.workload.source import left_out, load_scripts


def run_simulated(experiment: Experiment, out: Path | None) -> int:
    """Carry out an experiment in virtual time; return the exit code.

    A signal ends it where it is: the folder then holds the run up to there.
    """
    run_id = simulated_run_id(experiment)
    folder = RunFolder.create(out if out is not None else _unused(Path("results") / run_id))
    with Interrupts() as interrupts:
        watching = Watching(experiment, interrupts, sys.stderr)
        origin = origin_of(run_id=run_id, mode="simulate", seed=experiment.seed, by_command=command())
        try:
            settled, facts = _simulated(experiment, folder, watching, origin)
        finally:
            folder.discard_unbegun()
        watching.close()
        return finish(folder, experiment, facts, settled, signal_number=interrupts.received)


def simulate_into(experiment: Experiment, folder: RunFolder, made_with: dict[str, Any]) -> dict[str, Any]:
    """Carry out an experiment in virtual time, for its records alone; return the summary."""
    run_id = simulated_run_id(experiment)
    origin = {"run_id": run_id, "mode": "simulate", "seed": experiment.seed, **made_with}
    settled, facts = _simulated(experiment, folder, None, origin)
    return record(folder, experiment, facts, settled, signal_number=None)


def _simulated(
    experiment: Experiment, folder: RunFolder, watch: Watch | None, origin: dict[str, Any]
) -> tuple[Results, RunFacts]:
    run_id = simulated_run_id(experiment)
    material = load_scripts(experiment.workload, experiment.seed, experiment.load.agents)
    settled = simulate(experiment, material, watch)
    folder.write_run(experiment, origin)
    folder.write_left_out(left_out(experiment, material))
    return settled, facts_of(experiment, run_id=run_id, mode="simulate", is_emulated=True)


def _unused(path: Path) -> Path:
    """Return the path, or the first of its numbered siblings that no run has taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
