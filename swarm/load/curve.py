"""The most agents read off a curve: how the share of good requests falls as agents are added.

One curve is laid through all looks of a search, with what is known of such curves beforehand, as thresholds
are found in psychophysics (Watson and Pelli, "QUEST", 1983; Wichmann and Hill, 2001): a logistic in the
logarithm of the agents, less a share of misses that any load has. Looks at several levels tell of one number
together, where a verdict on each level would take several times as long. What the sessions of a look happen
to do moves the curve for that look, by a factor of its own: near the most agents a small one decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.measure.latency import Floats

STEEPNESS = np.geomspace(2.5, 14.0, 9)
"""By how much the logit of the good share falls where agents grow by a factor of e, each as likely as any
other beforehand: 6 to 12 was seen where a queue or the KV memory gives way."""
LAPSES = np.array([0.0, 0.2, 0.4, 0.6])
"""Misses that any load has, as shares of those that the objective allows."""
SCATTERS = np.array([0.05, 0.1, 0.2])
"""Standard deviations of the logarithm of a look's own factor."""
CLUSTER = 2.0
"""Requests that are worth one: a large prefill delays those beside it together."""
STEPS_PER_E = 50
"""Agents between which the curve is told apart: 2 %."""
BEYOND = 6.0
"""How far beyond the levels seen the most agents may lie beforehand."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look says of an objective."""

    agents: int
    trials: int
    good: int


@dataclass(frozen=True, slots=True)
class Most:
    """The most agents within one objective: the interval's ends and its middle, as real numbers."""

    low: float
    middle: float
    high: float


def most_agents(looks: Sequence[Seen], required: float, confidence: float) -> Most | None:
    """Return the most agents at which the `required` share is good; None where nothing was seen."""
    looks = [look for look in looks if look.trials]
    if not looks:
        return None
    least, most = (math.log(pick(look.agents for look in looks)) for pick in (min, max))
    at = np.arange(least - math.log(BEYOND), most + math.log(BEYOND), 1.0 / STEPS_PER_E)
    belief = np.zeros((len(SCATTERS), len(at), len(STEEPNESS), len(LAPSES)))
    blurs = [_blur(at, scatter) for scatter in SCATTERS]
    for look in looks:
        chance = _chance(look, at, required)
        peak = chance.max()
        plain = np.exp(chance - peak).reshape(len(at), -1)
        for place, blur in enumerate(blurs):
            belief[place] += np.log(blur @ plain + 1e-300).reshape(chance.shape)
    whole = np.exp(belief - belief.max()).sum(axis=(0, 2, 3))
    below = np.cumsum(whole) / whole.sum()
    tail = (1.0 - confidence) / 2
    ends = (float(np.exp(at[np.searchsorted(below, share)])) for share in (tail, 0.5, 1.0 - tail))
    return Most(*ends)


def _chance(look: Seen, at: Floats, required: float) -> Floats:
    """Return the logarithm of a look's chance by most agents, steepness and lapse."""
    lapse = LAPSES * (1.0 - required)
    # With a lapse the logistic itself must be higher where the curve passes the required share.
    crossing = required / (1.0 - lapse)
    offset = np.log(crossing / (1.0 - crossing))
    distance = math.log(look.agents) - at
    logit = offset[None, None, :] - STEEPNESS[None, :, None] * distance[:, None, None]
    share = np.clip((1.0 - lapse) / (1.0 + np.exp(-logit)), 1e-6, 1.0 - 1e-6)
    worth = look.good * np.log(share) + (look.trials - look.good) * np.log1p(-share)
    return np.asarray(worth / CLUSTER, dtype=np.float64)


def _blur(at: Floats, scatter: float) -> Floats:
    """Return the weights that average over a look's own factor."""
    weights = np.exp(-0.5 * ((at[:, None] - at[None, :]) / scatter) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
