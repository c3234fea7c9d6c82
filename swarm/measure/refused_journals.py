"""Hosts whose disk did not take their journal: whether all that they did is known all the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from swarm.records.batch import Batch


def refused_journals(batches: Sequence[Batch]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is to be noted of such hosts, and what is to be said against the run.

    `batches` are in order. All is known of a host where each of its reports is there, up to its last one.
    """
    notes: list[str] = []
    faults: list[str] = []
    for _, group in groupby(batches, key=lambda batch: (batch.host, batch.epoch)):
        reports = list(group)
        refusal = next((batch.refusal for batch in reports if batch.refusal), None)
        if refusal is None:
            continue
        missing = [at for at in range(reports[-1].sequence) if at not in {each.sequence for each in reports}]
        if reports[-1].is_last and not missing:
            notes.append(f"{refusal}; all that it sent is known")
            continue
        first = missing[0] if missing else len(reports)
        known = [each.gauges.at_s for each in reports if each.sequence < first]
        faults.append(f"{refusal}; what it did after {max(known, default=0.0):.1f} s is known in part")
    return tuple(notes), tuple(faults)
