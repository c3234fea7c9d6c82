"""A live run that its target did not let begin: a run folder with what it said, whose rows are the trials."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from swarm.commands.ending import record
from swarm.config.experiment import Experiment
from swarm.context.tree import root
from swarm.errors import TargetError
from swarm.live.targets.token_length import Counted
from swarm.live.targets.turn import TurnResult
from swarm.live.turn_rows import OpenRequest, row_of
from swarm.measure.results import results_of
from swarm.measure.totals import facts_of
from swarm.records.batch import FailureExample
from swarm.records.origin import command, origin_of
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable
from swarm.records.run_folder import RunFolder
from swarm.workload.effects import Agent, Infer

TRIAL = "trial"
"""The session, and the role, of the requests that tried the target."""


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
    refused = [(url, each) for url, each in fault.refusals if isinstance(each, Counted)]
    if refused:
        folder.add_notes(["the run did not begin: its rows are those of the requests that tried the target"])
    settled = results_of(
        [],
        experiment,
        ended_s=0.0,
        faults=(str(fault),),
        counters=None,
        sessions_asked_mean=None,
        clock_offsets_s={},
    )
    rows = RowTable()
    rows.extend(_row(turn, url, each) for turn, (url, each) in enumerate(refused))
    examples = tuple(FailureExample(each.outcome, each.status, each.error or "") for _, each in refused)
    totals = replace(settled.totals, sent=len(refused), examples=examples)
    settled = replace(settled, rows=rows.table(), totals=totals)
    facts = facts_of(experiment, run_id=run_id, mode="live", is_emulated=False)
    record(folder, experiment, facts, settled, signal_number=None)
    from swarm.report.run.drawing import draw

    draw(folder)


def _row(turn: int, url: str, one: Counted) -> RequestRow:
    """Return a trial's row; when it was is not known, and 0."""
    agent = Agent(TRIAL, TRIAL, None, TRIAL, dict)  # type: ignore[arg-type]
    asked = Infer(root(TRIAL).extend(one.planned_tokens), 1, False)
    request = OpenRequest(agent, turn, asked, 0.0, 0.0, True, False)
    result = TurnResult(outcome=one.outcome, endpoint=url, attempts=1, sent_s=0.0)
    return row_of(request, result, gaps_s=(), origin_s=0.0, ideal_tokens=0, host=0)
