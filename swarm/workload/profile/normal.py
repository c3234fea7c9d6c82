"""The standard normal on arrays, and the scores that make any quantity one."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_Z = np.linspace(-5.0, 5.0, 2001)
_P = np.array([NormalDist().cdf(float(z)) for z in _Z])
_RANKS = np.concatenate(([0.0], _P, [1.0]))


def cdf(z: Floats) -> Floats:
    """Return the probabilities below `z`."""
    below: Floats = np.interp(z, _Z, _P)
    return below


def ppf(p: Floats) -> Floats:
    """Return the quantiles at `p`, within [-5, 5]."""
    quantiles: Floats = np.interp(p, _P, _Z)
    return quantiles


def scores(values: NDArray[Any]) -> Floats:
    """Return normal scores of ranks; equal values get their middle rank's."""
    if len(values) == 0:
        return np.zeros(0)
    order = np.sort(values)
    low, high = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right")
    return ppf((low + high) / (2.0 * len(values)))
