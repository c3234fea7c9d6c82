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

    def lost(self) -> tuple[str, ...]:
        """Return what is to be said against the run: reports that its journals should have, and have not.

        A host numbers its reports from 0 on, and makes the first one before the run begins.
        """
        if not self.batches:
            return ("no journal tells of anything: what was sent before the run was cut off is not known",)
        known: dict[tuple[int, int], set[int]] = {}
        for batch in self.batches:
            known.setdefault((batch.host, batch.epoch), set()).add(batch.sequence)
        missing = ((host, max(numbers) + 1 - len(numbers)) for (host, _), numbers in sorted(known.items()))
        return tuple(
            f"{count:,} reports of host {host} are in no journal: what they told is lost"
            for host, count in missing
            if count
        )


def recover(journals: Path) -> Recovered:
    """Return the state that a folder of journals holds."""
    batches = read_batches(sorted(journals.glob("*.journal")))
    return Recovered(
        batches=batches,
        stopped_s=heard_until(batches, None),
        epoch=1 + max((batch.epoch for batch in batches), default=-1),
    )
