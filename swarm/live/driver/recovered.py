"""The state of an interrupted run, from its journals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarm.records.batch import Batch
from swarm.records.journal import read_batches
from swarm.records.takeover import heard_until


@dataclass(frozen=True, slots=True)
class Recovered:
    """State recovered from an interrupted run."""

    batches: list[Batch]
    stopped_s: float
    """The run's time of its last batch; it goes on from there."""
    epoch: int
    """Every epoch before this one is over."""


def recover(journals: Path) -> Recovered:
    """Return the state that a folder of journals holds."""
    batches = read_batches(sorted(journals.glob("*.journal")))
    return Recovered(
        batches=batches,
        stopped_s=heard_until(batches, None),
        epoch=1 + max((batch.epoch for batch in batches), default=-1),
    )
