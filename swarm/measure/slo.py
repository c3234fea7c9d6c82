"""Objectives against what was measured: their values, how much of them is used up, and who kept them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swarm.config.slo import COMPLETIONS, ObjectiveConfig
from swarm.measure.latency import RATES, VALUES, Flags, Floats, Selection, flags, floats
from swarm.measure.sketch import Sketch
from swarm.records.row import HOST_LOST

OF_FIRST_TOKEN = ("ttft_s", "effective_ttft_s")
"""Metrics that are known before a request has ended."""
SHARE_ROUNDING = 1e-12
"""How far a share may lie below the required one: what arithmetic leaves."""


@dataclass(frozen=True, slots=True)
class Trials:
    """What an objective is judged by: yes or no of each request, agent or window, and when it was."""

    good: Flags
    at_s: Floats
    required: float
    """The share that must be good."""


def judge(
    objectives: Sequence[ObjectiveConfig],
    due: Selection,
    sketches: Mapping[str, Sketch],
    completions: Mapping[str, Floats],
    unfinished: Mapping[str, Floats],
) -> list[dict[str, Any]]:
    """Return each objective with its verdict; `met` is None where nothing was observed.

    `due` are the measured requests, however they ended. An objective is met where the share of good ones
    among all that it concerns is what it requires: a failed one is not good. `value` is the quantile of those
    that finished. `completions` are the times of agents that ended, `unfinished` how long those had taken
    that the run's end cut off: a miss where that is past the bound, else no trial. `burn` is the share of the
    allowed misses that was used: above 1 the objective is missed.
    """
    return [_judged(each, due, sketches, completions, unfinished) for each in objectives]


def all_met(verdicts: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return False when an objective was missed, None when none is known to be missed but one is unknown."""
    if any(verdict["met"] is False for verdict in verdicts):
        return False
    if not verdicts or any(verdict["met"] is None for verdict in verdicts):
        return None
    return True


def within_all(objectives: Sequence[ObjectiveConfig], finished: Selection) -> Flags:
    """Return which finished requests are within every objective's bound; missing values pass."""
    within = np.ones(finished.num_rows, dtype=np.bool_)
    for objective in objectives:
        if objective.metric not in COMPLETIONS:
            within &= ~(_concerned(objective, finished) & ~_within(objective, _values(objective, finished)))
    return within


def known_misses(objectives: Sequence[ObjectiveConfig], due: Selection) -> Flags:
    """Return which requests, cut off by the run's end, had passed the bound of an objective by then."""
    missed = np.zeros(due.num_rows, dtype=np.bool_)
    for objective in objectives:
        if objective.metric not in COMPLETIONS:
            missed |= _concerned(objective, due) & _missed_when_cut(objective, due)
    return missed


def trials_of(objective: ObjectiveConfig, due: Selection) -> Trials:
    """Return what each request, agent or window says of an objective; one that failed is not good.

    One that the run's end cut off is judged by what is known of it: its TTFT where it had its first token,
    and a miss where it had passed the bound by then. Otherwise nobody knows how it would have ended, and it
    is no trial. Nor is one whose host was lost: its agent asks again.
    """
    keep, good = request_trials(objective, due)
    good, at_s = good[keep], floats(due, "completed_s")[keep]
    if objective.of == "requests" or not len(good):
        return Trials(good, at_s, objective.quantile if objective.of == "requests" else objective.share)
    if objective.of == "agents":
        names = np.asarray(due.column("agent").to_pylist(), dtype=object)[keep]
        groups = np.unique(names.astype(str), return_inverse=True)[1]
    else:
        groups = np.unique(at_s // objective.window_s, return_inverse=True)[1]
    counts = np.bincount(groups)
    # An agent of 3 requests cannot hold a p95 but with all of them: a share is compared, not a quantile.
    share = np.bincount(groups, weights=good) / counts
    complies = share >= objective.quantile - SHARE_ROUNDING
    return Trials(complies, np.bincount(groups, weights=at_s) / counts, objective.share)


def request_trials(objective: ObjectiveConfig, due: Selection) -> tuple[Flags, Flags]:
    """Return which requests say something of an objective, and which are good."""
    values = _values(objective, due)
    finished = flags(due, "outcome", "ok")
    has_value = ~np.isnan(values) & (finished | (_cut(due) & (objective.metric in OF_FIRST_TOKEN)))
    is_told = has_value | flags(due, "outcome", "failed") | _missed_when_cut(objective, due)
    return _concerned(objective, due) & is_told, _within(objective, values) & has_value


def _judged(
    objective: ObjectiveConfig,
    due: Selection,
    sketches: Mapping[str, Sketch],
    completions: Mapping[str, Floats],
    unfinished: Mapping[str, Floats],
) -> dict[str, Any]:
    known = completions.get(objective.metric)
    if known is not None:
        late = ~_within(objective, unfinished[objective.metric])
        good = np.concatenate([_within(objective, known), np.zeros(int(late.sum()), dtype=np.bool_)])
        trials = Trials(good, np.zeros(len(good)), objective.quantile)
    else:
        trials = trials_of(objective, due)
    count = len(trials.good)
    good_share = float(trials.good.mean()) if count else None
    if objective.of != "requests":
        value, target, unit = good_share, objective.share, "share"
    else:
        value = _value(objective, due, sketches, known)
        target = objective.bound
        unit = "tokens/s" if objective.metric in RATES else "s"
    met = None if good_share is None else good_share >= trials.required - SHARE_ROUNDING
    return {
        "name": objective.name,
        "metric": objective.metric,
        "quantile": objective.quantile,
        "of": objective.of,
        "unit": unit,
        "is_floor": objective.at_least is not None or objective.of != "requests",
        "bound": objective.bound,
        "target": target,
        "value": value,
        "met": met,
        "good_share": good_share,
        "required_share": trials.required,
        "burn": _burn(good_share, trials.required),
        "count": count,
    }


def _burn(good_share: float | None, required: float) -> float | None:
    """Return the misses as a share of those allowed; None where none is allowed or nothing was seen."""
    if good_share is None or required >= 1.0:
        return None
    return (1.0 - good_share) / (1.0 - required)


def _value(
    objective: ObjectiveConfig,
    due: Selection,
    sketches: Mapping[str, Sketch],
    known: Floats | None,
) -> float | None:
    """Return the quantile of what finished, counted from the good end."""
    share = objective.quantile if objective.at_most is not None else 1.0 - objective.quantile
    if known is not None:
        return float(np.quantile(known, share)) if len(known) else None
    is_whole = objective.role is None and not objective.context_from and objective.context_below is None
    if is_whole and objective.metric in sketches:
        return sketches[objective.metric].quantile(share)
    values = _values(objective, due)
    kept = values[_concerned(objective, due) & flags(due, "outcome", "ok") & ~np.isnan(values)]
    return float(np.quantile(kept, share)) if len(kept) else None


def _values(objective: ObjectiveConfig, rows: Selection) -> Floats:
    return VALUES[objective.metric](rows)


def _within(objective: ObjectiveConfig, values: Floats) -> Flags:
    """Return which values are within the bound; NaN is."""
    if objective.at_most is not None:
        return ~(values > objective.at_most)
    return ~(values < objective.bound)


def _cut(rows: Selection) -> Flags:
    """Return which requests the run's end cut off."""
    return flags(rows, "outcome", "interrupted") & ~flags(rows, "error_class", HOST_LOST)


def _missed_when_cut(objective: ObjectiveConfig, rows: Selection) -> Flags:
    """Return which requests the run's end cut off when they could not be within the bound any more.

    The best that could still have come is held against the bound: the rest of the request at once.
    """
    cut = _cut(rows)
    if not cut.any():
        return cut
    first_s, end_s = floats(rows, "first_token_s"), floats(rows, "completed_s")
    first_s = np.where(np.isnan(first_s), end_s, first_s)
    planned = floats(rows, "planned_output_tokens")
    waited_s = end_s - floats(rows, "intended_s")
    match objective.metric:
        case "ttft_s":
            best = first_s - floats(rows, "sent_s")
        case "effective_ttft_s":
            best = first_s - floats(rows, "intended_s")
        case "e2e_s":
            best = waited_s
        case "tpot_s":
            best = (end_s - first_s) / np.where(planned > 1, planned - 1, np.nan)
        case "output_tokens_per_s":
            best = planned / np.where(waited_s > 0, waited_s, np.nan)
        case _:
            best = np.full(rows.num_rows, np.nan)
    return cut & ~_within(objective, best)


def _concerned(objective: ObjectiveConfig, rows: Selection) -> Flags:
    """Return which rows an objective is about."""
    keep: npt.NDArray[np.bool_] = np.ones(rows.num_rows, dtype=np.bool_)
    if objective.role is not None:
        keep &= flags(rows, "role", objective.role)
    if objective.context_from or objective.context_below is not None:
        tokens = floats(rows, "prompt_tokens")
        keep &= tokens >= objective.context_from
        if objective.context_below is not None:
            keep &= tokens < objective.context_below
    return keep
