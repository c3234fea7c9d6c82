"""Distributions as quantile tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVELS = (
    0.0, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 0.965,
    0.98, 0.99, 0.995, 0.998, 0.9995, 1.0,
)  # fmt: skip
"""Finer at both ends, where token-weighted rates are decided."""


def table_of(values: NDArray[np.generic], levels: Sequence[float] = LEVELS) -> tuple[float, ...]:
    """Return the quantiles of values; a value that occurs often is spread over half a unit each way.

    So whole numbers, drawn from the table and rounded, occur as often as they were seen.
    """
    if len(values) == 0:
        return tuple(0.0 for _ in levels)
    ordered = np.sort(values.astype(np.float64))
    first, last = np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right")
    inside = (np.arange(len(ordered)) - first + 0.5) / (last - first)
    spread = ordered + np.where(last - first > 1, inside - 0.5, 0.0)
    places = (np.arange(len(ordered)) + 0.5) / len(ordered)
    drawn = np.interp(levels, places, spread)
    drawn[0], drawn[-1] = ordered[0], ordered[-1]
    return tuple(short(value) for value in np.maximum.accumulate(drawn))


def short(value: float) -> float:
    """Return a value with four digits; the rest is noise, and the profile's file stays small."""
    rounded = float(f"{float(value):.4g}")
    return int(rounded) if rounded.is_integer() else rounded
