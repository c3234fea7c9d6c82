"""A live run that its target did not let begin: a run folder with what it said, and nothing sent."""

from __future__ import annotations

from datetime import datetime

from swarm.commands.ending import record
from swarm.config.experiment import Experiment
from swarm.errors import TargetError
from swarm.measure.results import results_of
from swarm.measure.totals import facts_of
from swarm.records.origin import command, origin_of
from swarm.records.run_folder import RunFolder


def record_unbegun(
    folder: RunFolder,
    experiment: Experiment,
    fault: TargetError,
    *,
    run_id: str,
    started: datetime,
    out: str | None,
) -> None:
    """Write an invalid run's folder, whose reason is the fault; `out` is where it goes, if that is a URL."""
    origin = origin_of(run_id=run_id, mode="live", seed=experiment.seed, by_command=command())
    folder.write_run(experiment, {**origin, "started": started.isoformat(), "out": out, "begun": False})
    settled = results_of(
        [],
        experiment,
        ended_s=0.0,
        faults=(str(fault),),
        counters=None,
        sessions_asked_mean=None,
        clock_offsets_s={},
    )
    facts = facts_of(experiment, run_id=run_id, mode="live", is_emulated=False)
    record(folder, experiment, facts, settled, signal_number=None)
    from swarm.report.run.drawing import draw

    draw(folder)
