"""How much of the load that was asked for there was, until when it lasted, and from when it was under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from swarm.config.experiment import Experiment
from swarm.config.load import RampShape
from swarm.measure.agents import AgentCounts, count_agents
from swarm.measure.latency import flags, floats
from swarm.records.batch import AgentStep
from swarm.records.columns import arrow_numbers
from swarm.workload.source import session_index

HERD_SHARE = 0.01
"""Of the sessions that start together: so many may wait for their first token when the warm-up ends."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The measured phase as it was."""

    to_s: float
    """When it ended: with the load, or with the last due turn where no session was left."""
    agents: AgentCounts
    """Over the phase up to `to_s`."""
    sessions_live_mean: float | None
    """Over the whole phase, with sessions left or without."""
    ran_out_s: float | None
    """When the last session had ended, where that was before the load's end."""


@dataclass(frozen=True, slots=True)
class Herd:
    """Sessions that start together and had no token, or not of all primers, when measuring began."""

    sessions: int
    waiting: int
    served_s: float | None
    """When the last of them had its first token; None where one never had."""


def delivery_of(
    steps: Sequence[AgentStep], rows: pa.Table, experiment: Experiment, *, from_s: float, ended_s: float
) -> Delivery:
    """Return what was delivered in [from_s, ended_s)."""
    whole = count_agents(steps, from_s=from_s, to_s=ended_s)
    live_mean = whole.live_orchestrators_mean
    last_s = _ran_out_s(steps) if experiment.is_finite else None
    if last_s is None or last_s >= ended_s:
        return Delivery(ended_s, whole, live_mean, None)
    if experiment.load.duration_s is None:
        # The load ends with its last session: whoever waited for that looked a little later.
        return Delivery(last_s, count_agents(steps, from_s=from_s, to_s=last_s), live_mean, None)
    due_s = floats(rows, "intended_s")
    to_s = min(ended_s, max(from_s, float(due_s.max()) if len(due_s) else from_s))
    return Delivery(to_s, count_agents(steps, from_s=from_s, to_s=to_s), live_mean, last_s)


def _ran_out_s(steps: Sequence[AgentStep]) -> float | None:
    """Return when the last agent came to its own end, if none was left."""
    if not steps or sum(step.change for step in steps) != 0:
        return None
    last = max(steps, key=lambda step: step.at_s)
    return last.at_s if last.finished else None


def herd_of(rows: pa.Table, experiment: Experiment, *, from_s: float) -> Herd | None:
    """Return the sessions of the start that the warm-up did not wait for; None where there is none.

    They are those of a ramp; other shapes are loads that change over time, and a measurement of that.
    """
    load = experiment.load
    if load.search is not None or not (load.shape is None or isinstance(load.shape, RampShape)):
        return None
    ramp_s = load.ramp_s if load.shape is None else load.shape.over_s
    is_opening = (floats(rows, "turn") == 0) | flags(rows, "kind", "primer")
    is_root = np.asarray(rows.column("parent").is_null(), dtype=np.bool_)
    opening = rows.filter(arrow_numbers(is_opening & is_root))
    names, turn = opening.column("session").to_pylist(), floats(opening, "turn")
    starts = {
        names[at]
        for at in np.flatnonzero((turn == 0) & (floats(opening, "intended_s") <= ramp_s))
        if session_index(names[at]) < load.agents
    }
    # A session has started when its last primer is served.
    last = {names[at]: at for at in np.argsort(turn, kind="stable") if names[at] in starts}
    first = opening.take(pa.array(list(last.values()), pa.int64()))
    told_s = np.fmin(floats(first, "first_token_s"), floats(first, "completed_s"))
    waiting = int((told_s > from_s).sum())
    if not from_s or waiting <= HERD_SHARE * first.num_rows:
        return None
    is_served = not np.isnan(floats(first, "first_token_s")[told_s > from_s]).any()
    return Herd(first.num_rows, waiting, float(told_s.max()) if is_served else None)
