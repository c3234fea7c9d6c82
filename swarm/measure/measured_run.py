"""A run that has ended: its results, with what was asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

from swarm.measure.results import Results
from swarm.measure.summary import summarize
from swarm.measure.totals import RunFacts


class MeasuredRun(NamedTuple):
    """What a run gave, live or simulated."""

    results: Results
    facts: RunFacts
    left_out: tuple[str, ...] = ()
    """What its workload's files hold that it did not play, in words."""

    def summary(self) -> dict[str, Any]:
        """Return the page of numbers that `summary.json` holds, without its notes."""
        return summarize(self.results.rows, facts=self.facts, totals=self.results.totals)
