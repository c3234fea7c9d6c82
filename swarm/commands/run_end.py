"""How a live run's load ended, kept beside its journals: what `--resume` cannot find in them."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import Any

from swarm.config.experiment import Experiment
from swarm.live.driver.driver import RunEnd
from swarm.live.driver.recovered import Recovered
from swarm.measure.totals import ServerCounters
from swarm.records import unstored
from swarm.records.journal import read_batches
from swarm.records.run_folder import RunFolder
from swarm.records.takeover import heard_until


def keep_end(folder: RunFolder, run_id: str, end: RunEnd) -> tuple[str, ...]:
    """Write down how the load ended, and the reports that no journal has.

    Return what is to be said against the run where no disk takes them, or took those of an earlier end.
    """
    known = unstored.noted(folder.journals).get("unstored")
    faults: tuple[str, ...] = () if known is None else (str(known),)
    if end.unstored:
        path = unstored.store(end.unstored, unstored.places(folder.path, run_id))
        if path is None:
            faults += (_told(folder, end),)
            unstored.note(folder.journals, unstored=faults[-1])
            print(f"{folder.path}: {faults[-1]}", file=sys.stderr)
        else:
            count = unstored.rows_of(end.unstored)
            print(f"{folder.path}: {count:,} requests are kept in {path}; nothing is lost", file=sys.stderr)
    unstored.note(folder.journals, end=asdict(replace(end, unstored=())))
    return faults


def end_of(folder: RunFolder, experiment: Experiment, recovered: Recovered) -> RunEnd | None:
    """Return how the load of an interrupted run had ended; None where it is to go on."""
    limit_s = experiment.load.duration_s
    is_over = limit_s is not None and recovered.stopped_s >= limit_s
    kept = unstored.noted(folder.journals).get("end")
    if kept is not None and not is_over and limit_s is not None and kept["at_s"] >= limit_s:
        # Played again it would be valid, and what was sent the first time in no count.
        end = _read(kept)
        lost = (
            f"the load ended at {end.at_s:.1f} s, and the journals tell of no more than its first "
            f"{recovered.stopped_s:.1f} s: the rest is lost"
        )
        return replace(end, faults=(*end.faults, lost))
    if not is_over and experiment.load.search is None:
        unstored.note(folder.journals, end=None)
        return None
    if not is_over:
        print(f"{folder.path}: a search is not gone on with; what it left is added up", file=sys.stderr)
    if kept is not None:
        return _read(kept)
    return RunEnd(limit_s if is_over and limit_s is not None else recovered.stopped_s, (), None, None, {})


def _read(kept: dict[str, Any]) -> RunEnd:
    counters = kept["counters"]
    return RunEnd(
        at_s=kept["at_s"],
        faults=tuple(kept["faults"]),
        counters=None if counters is None else ServerCounters(**counters),
        sessions_asked_mean=kept["sessions_asked_mean"],
        clock_offsets_s={int(host): offset_s for host, offset_s in kept["clock_offsets_s"].items()},
        capacity=kept["capacity"],
    )


def _told(folder: RunFolder, end: RunEnd) -> str:
    """Return what is not known once this process has ended."""
    stored = read_batches(sorted(folder.journals.glob("*.journal")))
    from_s = min(heard_until(stored, batch.host) for batch in end.unstored)
    count = unstored.rows_of(end.unstored)
    return (
        f"{count:,} requests from {from_s:.1f} s on are in no journal, as no disk took them: they are in the "
        f"results of the run as it ended at {end.at_s:.1f} s, and not in those of a run gone on with"
    )
