"""`swarm simulate`: an experiment in virtual time, from its file to its run folder."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from swarm.config.experiment import Experiment
from swarm.measure.settle import Settled
from swarm.measure.store import RunFolder, simulated_run_id
from swarm.measure.totals import RunFacts, facts_of
from swarm.report.ending import finish, record
from swarm.sim.run import simulate
from swarm.workload.source import load_scripts


def run_simulated(experiment: Experiment, out: Path | None) -> int:
    """Carry out an experiment in virtual time; return the exit code."""
    run_id = simulated_run_id(experiment)
    folder = RunFolder.create(out if out is not None else _unused(Path("results") / run_id))
    settled, facts = _simulated(experiment, folder)
    return finish(folder, experiment, facts, settled, signal_number=None)


def simulate_into(experiment: Experiment, folder: RunFolder) -> dict[str, Any]:
    """Carry out an experiment in virtual time, for its records alone; return the summary."""
    settled, facts = _simulated(experiment, folder)
    return record(folder, experiment, facts, settled)


def _simulated(experiment: Experiment, folder: RunFolder) -> tuple[Settled, RunFacts]:
    run_id = simulated_run_id(experiment)
    settled = simulate(experiment, load_scripts(experiment.workload, experiment.seed, experiment.load.agents))
    folder.write_run(
        experiment, {"run_id": run_id, "mode": "simulate", "versions": {"swarm": version("swarm-emulator")}}
    )
    return settled, facts_of(experiment, run_id=run_id, mode="simulate", is_emulated=True)


def _unused(path: Path) -> Path:
    """Return the path, or the first of its numbered siblings that no run has taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
