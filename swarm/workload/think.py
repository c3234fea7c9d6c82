"""Chance in the quantities agents are made of."""

import numpy as np
from numpy.typing import NDArray

from swarm.config.workload import HumanWaitConfig, LognormalConfig


def lognormal(config: LognormalConfig, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw `count` values; a value outside [least, most] is moved to the nearest bound."""
    logs = np.log(config.median) + config.sigma * generator.standard_normal(count)
    values: NDArray[np.float64] = np.exp(logs, out=logs)
    return np.minimum(np.maximum(values, config.least, out=values), config.most, out=values)


def lengths(config: LognormalConfig, generator: np.random.Generator, count: int) -> list[int]:
    """Draw `count` whole numbers, at least 1."""
    drawn = np.rint(lognormal(config, generator, count))
    whole: list[int] = np.maximum(1, drawn, out=drawn).astype(np.int64).tolist()
    return whole


def human_waits(config: HumanWaitConfig, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Draw waits of a person in seconds: the lognormal body, or the Pareto tail with its share."""
    body = lognormal(config.body, generator, count)
    tail = config.tail_from_s * (1.0 + generator.pareto(config.tail_alpha, count))
    return np.where(generator.random(count) < config.tail_share, tail, body)
