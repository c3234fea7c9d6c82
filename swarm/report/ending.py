"""The end of a run, live or simulated: its folder written, its report drawn, its numbers shown."""

from __future__ import annotations

import sys
from typing import Any

from swarm.config.experiment import Experiment
from swarm.fleet.caveats import caveats
from swarm.kvcache.modelled import with_modelled
from swarm.measure.series import series
from swarm.measure.settle import Settled
from swarm.measure.store import RunFolder
from swarm.measure.summary import exit_code, longest_computed_tokens, summarize
from swarm.measure.totals import RunFacts
from swarm.report.drawing import draw
from swarm.report.terminal import show_summary


def record(folder: RunFolder, experiment: Experiment, facts: RunFacts, settled: Settled) -> dict[str, Any]:
    """Write rows, windows and summary into the run folder; return the summary."""
    rows = settled.rows
    if experiment.cache_model is not None and settled.places:
        rows = with_modelled(
            rows, settled.places, experiment.cache_model, block_tokens=experiment.ideal_block_tokens
        )
    summary = summarize(rows, facts=facts, totals=settled.totals)
    if facts.tiers is not None:
        summary["notes"] = caveats(experiment.fleet, longest_computed_tokens(rows))
    folder.write_requests(rows)
    folder.write_windows(series(settled.windows))
    folder.write_summary(summary)
    return summary


def finish(
    folder: RunFolder,
    experiment: Experiment,
    facts: RunFacts,
    settled: Settled,
    *,
    signal_number: int | None,
) -> int:
    """Write the run folder, the report last; print the summary and, as the last line, the folder's path."""
    summary = record(folder, experiment, facts, settled)
    show_summary(summary)
    draw(folder)
    print(folder.path, file=sys.stdout, flush=True)
    return exit_code(summary, signal_number)
