"""What a reader of a run's numbers has to know beside them, in words: the run stays valid."""

from __future__ import annotations

import math

from swarm.measure.attendance import Absence
from swarm.measure.totals import RunFacts, RunTotals
from swarm.measure.validity import HOSTS_NAMED, falls_short
from swarm.units import counted


def notes_of(facts: RunFacts, totals: RunTotals) -> list[str]:
    """Return the notes on the load of a run."""
    ends = [*_ran_out(facts, totals), *_unfinished(facts, totals)]
    return [*totals.remarks, *totals.warnings, *_herd(totals), *ends, *_absences(totals)]


def skipped_told(skipped_s: float) -> list[str]:
    """Return how much time was skipped in which nobody would have asked."""
    if not skipped_s:
        return []
    return [
        f"{skipped_s:,.1f} s without any request were skipped (workload.system_idle_cap_s): recorded waits "
        "are longer"
    ]


def _unfinished(facts: RunFacts, totals: RunTotals) -> list[str]:
    """Return which objectives are missed by sessions that never ended."""
    taken = {
        "session_s": ("session", totals.session_open_s),
        "subagent_s": ("sub-agent", totals.subagent_open_s),
    }
    notes = []
    for objective in () if facts.is_search else facts.objectives:
        name, open_s = taken.get(objective.metric, ("", ()))
        late = sum(each > objective.bound for each in open_s)
        if late:
            notes.append(
                f"{counted(late, name)} had taken longer than {objective.bound:g} s and not ended when the "
                f"load did: a miss of {objective.name} each, whose value is of those that ended"
            )
    return notes


def _herd(totals: RunTotals) -> list[str]:
    herd = totals.herd
    if herd is None:
        return []
    served = "" if herd.served_s is None else f", the last of them had it at {herd.served_s:.1f} s"
    longer = "longer" if herd.served_s is None else f"at least {math.ceil(herd.served_s):,}"
    return [
        f"{herd.waiting:,} of the {counted(herd.sessions, 'session')} that start together had no token yet "
        f"when the warm-up ended at {totals.measured_from_s:,.6g} s{served}: percentiles hold the "
        f"start-up; make load.warmup_s {longer}, or start over a longer load.ramp_s"
    ]


def _absences(totals: RunTotals) -> list[str]:
    """Return who was away, the first few one by one."""
    notes = [_absence(each) for each in sorted(totals.absences, key=lambda each: each.from_s)]
    if len(notes) > HOSTS_NAMED:
        notes = [*notes[:HOSTS_NAMED], f"and {len(notes) - HOSTS_NAMED} more times that hosts were away"]
    return notes


def _absence(each: Absence) -> str:
    name = f"host {each.host}"
    if not each.is_lost:
        return f"{name} stood still from {each.from_s:.1f} to {each.to_s:.1f} s: nobody ran its agents"
    after = (
        "was not replaced: its agents ended there"
        if each.to_s is None
        else f"was replaced at {each.to_s:.1f} s: nobody ran its agents meanwhile"
    )
    unseen = (
        f"; {each.unseen:,} requests that it may have sent unseen are unaccounted for" if each.unseen else ""
    )
    return f"{name} was lost: it was last heard at {each.from_s:.1f} s and {after}{unseen}"


def _ran_out(facts: RunFacts, totals: RunTotals) -> list[str]:
    asked, live = totals.sessions_asked_mean, totals.sessions_live_mean
    delivered = ""
    if asked is not None and live is not None:
        delivered = f": {live:.1f} sessions were alive on average of {asked:.1f} asked for"
    if totals.ran_out_s is not None:
        return [
            f"the load ran out: the last session ended at {totals.ran_out_s:,.6g} s{delivered}; rates end "
            f"with the last due turn at {totals.measured_to_s:,.6g} s; repeat sessions (workload.repeat, "
            "load.replace), or shorten load.duration_s"
        ]
    if facts.is_finite and falls_short(facts, totals):
        return [f"sessions ended and none took their place{delivered}: rates are those of a falling load"]
    return []
