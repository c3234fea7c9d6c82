"""What a reader of a run's numbers has to know beside them, in words: the run stays valid."""

from __future__ import annotations

from swarm.measure.totals import RunFacts, RunTotals
from swarm.measure.validity import falls_short


def notes_of(facts: RunFacts, totals: RunTotals) -> list[str]:
    """Return the notes on the load of a run."""
    return [*_herd(totals), *_ran_out(facts, totals)]


def _herd(totals: RunTotals) -> list[str]:
    herd = totals.herd
    if herd is None:
        return []
    served = "" if herd.served_s is None else f", the last of them had it at {herd.served_s:.1f} s"
    longer = "longer" if herd.served_s is None else f"at least {herd.served_s:.0f}"
    return [
        f"{herd.waiting:,} of the {herd.sessions:,} sessions that start together had no token yet when the "
        f"warm-up ended at {totals.measured_from_s:.10g} s{served}: percentiles hold the start-up; make "
        f"load.warmup_s {longer}, or start over a longer load.ramp_s"
    ]


def _ran_out(facts: RunFacts, totals: RunTotals) -> list[str]:
    asked, live = totals.sessions_asked_mean, totals.sessions_live_mean
    delivered = ""
    if asked is not None and live is not None:
        delivered = f": {live:.1f} sessions were alive on average of {asked:.1f} asked for"
    if totals.ran_out_s is not None:
        return [
            f"the load ran out: the last session ended at {totals.ran_out_s:.4g} s{delivered}; rates end "
            f"with the last due turn at {totals.measured_to_s:.4g} s; repeat sessions (workload.repeat, "
            "load.replace), or shorten load.duration_s"
        ]
    if facts.is_finite and falls_short(facts, totals):
        return [f"sessions ended and none took their place{delivered}: rates are those of a falling load"]
    return []
