"""A profile corrected for who draws from its tables, and for who starts with most.

Tables are quantiles over turns, but the normals that place a session's turns in them are per session, and
long sessions have other ones than short ones: their turns would not fill a table evenly. Each table is moved
such that the turns of many sampled sessions, taken together, have the distribution that was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from swarm.config.profile import LATENTS, ProfileFile, Table
from swarm.streams import stream
from swarm.workload.profile.fit import LINK_MAX
from swarm.workload.profile.sample import SECOND_CLASSES, AgentPlan, Draws, Sampler
from swarm.workload.profile.tables import short
from swarm.workload.profile.turns import Floats

SAMPLES = 1024
ROUNDS = 2
"""Growth decides the context, and that the growth: the second round has the first one's contexts."""
PLACES_MIN = 50
START = LATENTS.index("start")
LINK_STEP = 0.2
"""Correlation tried beside the one at hand; the line through both is followed for twice as far at most."""
_WAITS = ("blind_wait_s", "human_wait_s", "tool_wait_s")


def calibrated(profile: ProfileFile, tokens: float) -> ProfileFile:
    """Return the profile whose sampled turns have the distributions that this one's tables state.

    And whose orchestrators send `tokens` input tokens each, on average.
    """
    moved = _with_link(profile, _link_for(_with_tables(profile), tokens))
    return _with_tables(moved)


def _link_for(profile: ProfileFile, tokens: float) -> float:
    """Return the correlation of requests and first contexts that the mean tokens of a session ask for.

    A few sessions start with many times the usual context, and are short. A rank correlation over all says
    little of how short, and they decide the mean.
    """
    link = profile.sessions.correlation[0][START]
    over = _over(profile, tokens)
    other = link - float(np.copysign(LINK_STEP, over))
    slope = (over - _over(_with_link(profile, other), tokens)) / (link - other)
    moved = -over / slope if slope > 0 else 0.0
    return round(float(np.clip(link + np.clip(moved, -2 * LINK_STEP, 2 * LINK_STEP), -LINK_MAX, LINK_MAX)), 3)


def _over(profile: ProfileFile, tokens: float) -> float:
    """Return how many times too many tokens sampled orchestrators send, as a logarithm."""
    return float(np.log(np.mean([plan.input.sum() for _, plan in _sampled(profile)]) / tokens))


def _with_link(profile: ProfileFile, link: float) -> ProfileFile:
    rows = [list(row) for row in profile.sessions.correlation]
    rows[0][START] = rows[START][0] = link
    correlation = tuple(tuple(row) for row in rows)
    sessions = profile.sessions.model_copy(update={"correlation": correlation})
    return profile.model_copy(update={"sessions": sessions})


def _with_tables(profile: ProfileFile) -> ProfileFile:
    wanted = profile.turns
    share = _human_share(profile)
    moved = profile
    for _ in range(ROUNDS):
        now = moved.turns.model_copy(update={"human_share": share})
        moved = moved.model_copy(update={"turns": now})
        places = _places(moved)
        tables: dict[str, object] = {
            name: _moved(profile, getattr(wanted, name), places[name])
            for name in ("output", "first_output", "service_s", *_WAITS, "growth_second", "growth_human")
        }
        tables["growth_tool"] = tuple(
            _moved(profile, table, places[f"growth_tool/{k}"]) for k, table in enumerate(wanted.growth_tool)
        )
        moved = moved.model_copy(update={"turns": now.model_copy(update=tables)})
    return moved


def _sampled(profile: ProfileFile) -> Iterator[tuple[Draws, AgentPlan]]:
    sampler = Sampler(profile)
    generator = stream(0, "profile-calibration", profile.name)
    for k in range(SAMPLES):
        requests_p = (k + 0.5) / SAMPLES
        latents = sampler.latents(requests_p, generator, 1)
        draws = sampler.draws(latents, sampler.count(requests_p), generator)
        yield draws, sampler.mains(latents, generator.random((8, 1)), draws)[0]


def _human_share(profile: ProfileFile) -> float:
    """Return the share to draw against, such that the recorded share of all turns is a person's."""
    human = np.concatenate([draws.human[0, 1:] for draws, _ in _sampled(profile)])
    wanted = profile.turns.human_share
    return short(1.0 - float(np.quantile(human, 1.0 - wanted))) if 0 < wanted < 1 and len(human) else wanted


def _places(profile: ProfileFile) -> dict[str, Floats]:
    """Return, by table, the probabilities at which sampled turns look into it."""
    found: dict[str, list[Floats]] = {}
    for draws, plan in _sampled(profile):
        index = np.arange(len(plan.input))
        context = np.searchsorted(
            profile.turns.growth_context, np.concatenate(([0], plan.input[:-1])), "right"
        )
        human, blind = draws.is_human[0], draws.is_blind[0]
        later = index > 0
        second = (index == 1) & (context < SECOND_CLASSES)
        goes_on = later & ~second
        masks = {
            "output": (draws.output, later),
            "first_output": (draws.output, ~later),
            "service_s": (draws.service, later | ~later),
            "blind_wait_s": (draws.wait, later & blind),
            "human_wait_s": (draws.wait, later & human & ~blind),
            "tool_wait_s": (draws.wait, later & ~human & ~blind),
            "growth_second": (draws.growth, second),
            "growth_human": (draws.growth, goes_on & human),
        }
        for k in range(len(profile.turns.growth_tool)):
            masks[f"growth_tool/{k}"] = (draws.growth, goes_on & ~human & (context == k))
        for name, (values, mask) in masks.items():
            found.setdefault(name, []).append(values[0, mask])
    return {name: np.concatenate(values) for name, values in found.items()}


def _moved(profile: ProfileFile, table: Table, places: Floats) -> Table:
    levels = np.array(profile.levels)
    if len(places) < PLACES_MIN:
        return table
    below = np.searchsorted(np.sort(places), levels, side="right") / len(places)
    below[0], below[-1] = 0.0, 1.0
    return tuple(short(value) for value in Sampler(profile).at(table, below))
