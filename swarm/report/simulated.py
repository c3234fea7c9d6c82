"""`swarm simulate`: an experiment in virtual time, from its file to its run folder."""

from __future__ import annotations

from pathlib import Path

from swarm.config.experiment import Experiment
from swarm.measure.store import RunFolder, simulated_run_id
from swarm.measure.totals import facts_of
from swarm.report.ending import finish
from swarm.sim.run import simulate
from swarm.workload.source import load_scripts


def run_simulated(experiment: Experiment, out: Path | None) -> int:
    """Carry out an experiment in virtual time; return the exit code."""
    scripts = load_scripts(experiment.workload)
    run_id = simulated_run_id(experiment)
    folder = RunFolder.create(out if out is not None else _unused(Path("results") / run_id))
    settled = simulate(experiment, scripts)
    facts = facts_of(experiment, run_id=run_id, mode="simulate", is_emulated=True)
    return finish(folder, experiment, facts, settled, signal_number=None)


def _unused(path: Path) -> Path:
    """Return the path, or the first of its numbered siblings that no run has taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
