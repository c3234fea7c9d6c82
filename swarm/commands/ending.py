"""The end of a run, live or simulated: its folder written, its report drawn, its numbers shown."""

from __future__ import annotations

import signal
import sys
from typing import Any

from swarm.config.experiment import Experiment
from swarm.fleet.cost.validation import validation_notes
from swarm.measure.doubts import counts_told, cut_told, doubts_told, unsent_told
from swarm.measure.failures import failures_told
from swarm.measure.modelled import with_modelled
from swarm.measure.notes import notes_of, skipped_told
from swarm.measure.results import Results
from swarm.measure.series import series
from swarm.measure.server_time import server_notes, server_summary, tier_looks, with_server
from swarm.measure.summary import exit_code, longest_computed_tokens, summarize
from swarm.measure.totals import RunFacts, RunTotals
from swarm.records.journal import damage_notes
from swarm.records.run_folder import RunFolder
from swarm.records.tier_looks import looks_table
from swarm.report.run.terminal import show_summary

REFUSALS_SHOWN = 3


def record(
    folder: RunFolder,
    experiment: Experiment,
    facts: RunFacts,
    settled: Results,
    *,
    signal_number: int | None,
    is_asked: bool = False,
) -> dict[str, Any]:
    """Write rows, windows and summary into the run folder; return the summary.

    `is_asked` tells that a signal was none, but the wish of somebody who watched the run.
    """
    rows = settled.rows
    if experiment.cache_model is not None and settled.places:
        rows = with_modelled(
            rows, settled.places, experiment.cache_model, block_tokens=experiment.ideal_block_tokens
        )
    summary = summarize(rows, facts=facts, totals=settled.totals)
    summary["server"] = server_summary(settled.server)
    cut = stopped(signal_number, settled.totals.measured_to_s, experiment.load.duration_s, is_asked=is_asked)
    damaged = damage_notes(sorted(folder.path.glob("journal/*.journal")))
    told = notes_of(facts, settled.totals)
    left_out = folder.run().get("left_out", ())
    summary["notes"] = [*cut, *damaged, *left_out, *_unused(experiment, facts), *told]
    summary["notes"] += failures_told(summary["failure_reasons"])
    summary["notes"] += unsent_told(rows)
    summary["notes"] += [] if facts.is_search else cut_told(rows)
    summary["notes"] += doubts_told(settled.totals.doubts)
    summary["notes"] += server_notes(settled.server, summary)
    if facts.mode == "live":
        summary["notes"] += [*skipped_told(settled.skipped_s), *counts_told(rows)]
    if facts.tiers is not None:
        notes = validation_notes(experiment.fleet, longest_computed_tokens(rows))
        summary["notes"] += [*notes, *noted(summary, settled.totals)]
    folder.write_requests(rows)
    folder.write_windows(with_server(series(settled.windows), settled.server))
    looks = settled.tiers or tier_looks(settled.server)
    if len(looks) > 1:
        folder.write_tiers(looks_table(looks))
    folder.write_summary(summary)
    return summary


def _unused(experiment: Experiment, facts: RunFacts) -> list[str]:
    """Return what was asked for and has no effect in this run."""
    if experiment.cache_model is None or facts.mode == "live":
        return []
    return ["cache_model is not used: it is for live runs, and here the emulated fleet says what hits"]


def stopped(
    signal_number: int | None, at_s: float, duration_s: float | None, *, is_asked: bool = False
) -> list[str]:
    """Return what a reader must know of a run that a signal, or who watched it, has cut short."""
    if signal_number is None:
        return []
    of = "" if duration_s is None else f" of {duration_s:.10g}"
    by = "from its live page" if is_asked else f"by {signal.Signals(signal_number).name}"
    return [f"stopped {by} at {at_s:.1f}{of} s"]


def noted(summary: dict[str, Any], totals: RunTotals) -> list[str]:
    """Return what a reader of an emulated run's figures would not see by himself."""
    notes = [f"refused {count:,}: {reason}" for reason, count in totals.refusals[:REFUSALS_SHOWN]]
    for name, counted in (totals.fleet or {"tiers": {}})["tiers"].items():
        if counted["dropped_blocks"]:
            share = counted["dropped_blocks"] / counted["offered_blocks"]
            notes.append(f"writes to {name} were too slow: {share:.1%} of the blocks were dropped")
        if counted["blocked_writes"]:
            notes.append(f"writes to {name} were too slow: {counted['blocked_writes']:,} stalled a replica")
    return notes


def finish(
    folder: RunFolder,
    experiment: Experiment,
    facts: RunFacts,
    settled: Results,
    *,
    signal_number: int | None,
    is_asked: bool = False,
) -> int:
    """Write the run folder, the report last; print the summary and, last, the folder's absolute path."""
    summary = record(folder, experiment, facts, settled, signal_number=signal_number, is_asked=is_asked)
    show_summary(summary)
    # The charts' library takes longer to import than a stopped job has left: records and summary come first.
    from swarm.report.run.drawing import draw

    draw(folder)
    print(folder.path.absolute(), file=sys.stdout, flush=True)
    return exit_code(summary, signal_number)
