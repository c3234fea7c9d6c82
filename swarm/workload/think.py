"""Chance in the quantities agents are made of.

A call into numpy costs more than a session's few dozen numbers: what is drawn in a row is drawn at once.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from swarm.config.workload import LognormalConfig

Floats: TypeAlias = NDArray[np.float64]

LOG_MOST = 700.0
"""The largest logarithm whose value is still a number."""


def lognormal(config: LognormalConfig, generator: np.random.Generator, count: int) -> Floats:
    """Draw `count` values; a value outside [least, most] is moved to the nearest bound."""
    return values_of(config, generator.standard_normal(count))


def one_length(config: LognormalConfig, generator: np.random.Generator) -> int:
    """Draw one whole number, at least 1."""
    log = _log(config.median) + config.sigma * float(generator.standard_normal())
    value = math.exp(min(log, LOG_MOST))
    return max(1, round(min(max(value, config.least), config.most)))


def _log(median: float) -> float:
    return math.log(median) if median else -math.inf


def values_of(config: LognormalConfig, normals: Floats) -> Floats:
    """Turn standard normals into values, in place."""
    return _shaped(normals, config.sigma, _log(config.median), config.least, config.most)


class Laws:
    """Several lognormals that are drawn as often as each other: a row of values for each."""

    __slots__ = ("_least", "_log", "_most", "_sigma", "count")

    def __init__(self, configs: Sequence[LognormalConfig]) -> None:
        self.count = len(configs)
        self._sigma = _column([config.sigma for config in configs])
        self._log = _column([_log(config.median) for config in configs])
        self._least = _column([config.least for config in configs])
        self._most = _column([config.most for config in configs])

    def values(self, normals: Floats) -> Floats:
        """Turn rows of standard normals into values, in place, as `lognormal` does one by one."""
        return _shaped(normals, self._sigma, self._log, self._least, self._most)


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, np.float64).reshape(-1, 1)


def _shaped(
    normals: Floats,
    sigma: float | Floats,
    log: float | Floats,
    least: float | Floats,
    most: float | Floats,
) -> Floats:
    normals *= sigma
    normals += log
    np.exp(normals, out=normals)
    return np.minimum(np.maximum(normals, least, out=normals), most, out=normals)


def whole(values: Floats) -> Floats:
    """Turn values into whole numbers, at least 1, in place."""
    return np.maximum(1.0, np.rint(values, out=values), out=values)
