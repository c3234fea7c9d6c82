"""Chance in the quantities agents are made of.

A call into numpy costs more than a session's few dozen numbers: what is drawn in a row is drawn at once.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from swarm.config.workload import HumanWaitConfig, LognormalConfig

LOG_MOST = 700.0
"""The largest logarithm whose value is still a number."""


def lognormal(config: LognormalConfig, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw `count` values; a value outside [least, most] is moved to the nearest bound."""
    return _values(config, generator.standard_normal(count))


def one_length(config: LognormalConfig, generator: np.random.Generator) -> int:
    """Draw one whole number, at least 1."""
    log = _log(config.median) + config.sigma * float(generator.standard_normal())
    value = math.exp(min(log, LOG_MOST))
    return max(1, round(min(max(value, config.least), config.most)))


def lengths(
    configs: Sequence[LognormalConfig], generator: np.random.Generator, count: int
) -> NDArray[np.int64]:
    """Draw `count` whole numbers, at least 1, for each of several quantities: a row each, in their order."""
    normals = generator.standard_normal((len(configs), count))
    for config, row in zip(configs, normals, strict=True):
        _values(config, row)
    return np.maximum(1.0, np.rint(normals, out=normals), out=normals).astype(np.int64)


def _log(median: float) -> float:
    return math.log(median) if median else -math.inf


def _values(config: LognormalConfig, normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn standard normals into values, in place."""
    normals *= config.sigma
    normals += _log(config.median)
    np.exp(normals, out=normals)
    return np.minimum(np.maximum(normals, config.least, out=normals), config.most, out=normals)


def human_waits(config: HumanWaitConfig, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw waits of a person in seconds: the lognormal body, or the Pareto tail with its share."""
    body = lognormal(config.body, generator, count)
    tail = config.tail_from_s * (1.0 + generator.pareto(config.tail_alpha, count))
    return np.where(generator.random(count) < config.tail_share, tail, body)
