"""Objectives against what was measured: their values, and the requests that met all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from swarm.config.slo import ObjectiveConfig
from swarm.measure.latency import LATENCIES, Flags, Selection
from swarm.measure.sketch import Sketch


def judge(objectives: Sequence[ObjectiveConfig], sketches: Mapping[str, Sketch]) -> list[dict[str, Any]]:
    """Return each objective with its value; `met` is None where nothing was observed."""
    verdicts = []
    for objective in objectives:
        value = sketches[objective.metric].quantile(objective.quantile)
        verdicts.append(
            {
                "name": objective.name,
                "metric": objective.metric,
                "quantile": objective.quantile,
                "target": objective.at_most,
                "value": value,
                "met": None if value is None else value <= objective.at_most,
            }
        )
    return verdicts


def all_met(verdicts: Sequence[Mapping[str, Any]]) -> bool | None:
    """Return False when an objective was missed, None when none is known to be missed but one is unknown."""
    if any(verdict["met"] is False for verdict in verdicts):
        return False
    if not verdicts or any(verdict["met"] is None for verdict in verdicts):
        return None
    return True


def within_all(objectives: Sequence[ObjectiveConfig], finished: Selection) -> Flags:
    """Return which finished requests are within every objective's bound; what a request lacks it meets."""
    within = np.ones(finished.num_rows, dtype=np.bool_)
    for metric, at_most in {(each.metric, each.at_most) for each in objectives}:
        within &= ~(LATENCIES[metric](finished) > at_most)
    return within
