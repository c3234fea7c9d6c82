"""A profile from recorded sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.config.profile import (
    LATENTS,
    BreaksConfig,
    FittedConfig,
    LinksConfig,
    ProfileFile,
    SessionsConfig,
    SpreadConfig,
    SubagentsConfig,
    TurnsConfig,
)
from swarm.errors import UsageError
from swarm.workload.profile.normal import ppf, scores
from swarm.workload.profile.sample import SECOND_CLASSES
from swarm.workload.profile.tables import LEVELS, short, table_of
from swarm.workload.profile.turns import Floats, Observed, Turns

SESSIONS_AT_LEAST = 8
"""Fewer sessions say too little of what sets sessions apart."""
TAIL_TOKENS_MAX = 1024
"""A prompt that keeps all but so much of the previous one is a small pull-back, not a rewrite."""
COMPACTED_BELOW = 0.75
"""A prompt that breaks with the previous one and has less than this share of its length is a compaction."""
REWRITE_WAIT_S = (300.0, 1000.0, 10_000.0)
GROWTH_CONTEXT = (20_000.0, 40_000.0, 80_000.0, 120_000.0)
"""Sessions read much while their context is small, and less and less as it grows."""
STAGE_TURNS_MIN = 20
"""A class with fewer turns borrows the distribution of all."""
LINK_MAX = 0.9

Mask = NDArray[np.bool_]


class Parts:
    """The turns of orchestrators by what they are."""

    def __init__(self, turns: Turns) -> None:
        main = turns.agent == 0
        before = turns.previous(turns.input)
        later = main & (turns.index > 0)
        lost = np.where(later, before - turns.kept_tokens, 0.0)
        broken = later & (lost > TAIL_TOKENS_MAX)
        self.first = main & (turns.index == 0)
        self.later = later
        self.compaction = broken & (turns.input < COMPACTED_BELOW * before)
        self.rewrite = broken & ~self.compaction
        self.goes_on = later & ~broken
        self.tail = self.goes_on & (lost >= 1)
        self.lost = lost
        self.after_compaction = later & np.concatenate(([False], self.compaction[:-1]))
        service_before = turns.previous(turns.service_s)
        self.blind = later & np.isnan(service_before)
        self.wait = np.where(self.blind, turns.gap_s, turns.gap_s - service_before)
        self.growth = np.nan_to_num(turns.growth)


def fit_parts(observed: Observed, *, name: str) -> ProfileFile:
    """Return the profile of what was observed, not yet calibrated against its own samples."""
    turns = observed.turns
    sessions_count = len(observed.starts_s)
    if sessions_count < SESSIONS_AT_LEAST:
        raise UsageError(
            f"{sessions_count} session(s) with requests; a profile needs {SESSIONS_AT_LEAST} at least, "
            "and about 50 to be worth much"
        )
    parts = Parts(turns)
    if not parts.goes_on.any():
        raise UsageError(
            "no session has a second request that goes on from its first: there are no turns to learn from"
        )
    spread, means = _spreads(turns, parts)
    return ProfileFile(
        name=name,
        fitted=FittedConfig(sessions=sessions_count, requests=len(turns), subagents=len(observed.children)),
        block_tokens=observed.block_tokens,
        levels=LEVELS,
        sessions=_sessions(observed, parts, means),
        turns=_turns(turns, parts, spread),
        breaks=_breaks(turns, parts),
        subagents=_subagents(observed),
    )


def _sessions(observed: Observed, parts: Parts, means: dict[str, tuple[Floats, Floats]]) -> SessionsConfig:
    turns = observed.turns
    counts = np.bincount(turns.session[turns.agent == 0])
    starts = turns.input[parts.first]
    columns = {"requests": (scores(counts), np.ones(len(counts)))}
    columns["start"] = (scores(starts), np.ones(len(counts)))
    columns |= means
    matrix = [[_correlation(columns[one], columns[other]) for other in LATENTS] for one in LATENTS]
    begins = np.sort(observed.starts_s)
    return SessionsConfig(
        requests=table_of(counts),
        start_context=table_of(starts),
        tool_tokens=table_of(observed.tool_tokens),
        system_tokens=table_of(observed.system_tokens),
        correlation=tuple(tuple(row) for row in matrix),
        arrival_s=table_of(np.diff(begins)) if begins[-1] > begins[0] else None,
    )


def _correlation(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> float:
    """Return the correlation of two latents from sessions' means, weighted by their reliability.

    Means of few turns scatter, which hides a correlation; dividing by the root of both reliabilities
    brings it back.
    """
    if one is other:
        return 1.0
    weights = one[1] * other[1]
    if weights.sum() == 0:
        return 0.0
    a, b = (values - np.average(values, weights=weights) for values in (one[0], other[0]))
    a_var, b_var, both = (np.average(x, weights=weights) for x in (a * a, b * b, a * b))
    if a_var <= 0 or b_var <= 0:
        return 0.0
    reliable = np.sqrt(np.average(one[1], weights=weights) * np.average(other[1], weights=weights))
    return round(float(np.clip(both / np.sqrt(a_var * b_var) / reliable, -LINK_MAX, LINK_MAX)), 3)


def _spreads(turns: Turns, parts: Parts) -> tuple[SpreadConfig, dict[str, tuple[Floats, Floats]]]:
    """Return the shares of variance between sessions, and each session's (mean score, reliability)."""
    count = int(turns.session.max()) + 1
    known = parts.goes_on & ~parts.blind
    human = known & turns.is_human
    served = (turns.agent == 0) & ~np.isnan(turns.service_s)
    of = {
        "growth": _between(_staged_scores(turns, parts), turns.session[parts.goes_on], count),
        "output": _between(scores(turns.output[parts.later]), turns.session[parts.later], count),
        "tool_wait": _between(
            scores(parts.wait[known & ~turns.is_human]), turns.session[known & ~turns.is_human], count
        ),
        "human_wait": _between(scores(parts.wait[human]), turns.session[human], count),
        "human_share": _between_shares(turns.is_human[parts.goes_on], turns.session[parts.goes_on], count),
        "service": _between(scores(turns.service_s[served]), turns.session[served], count),
    }
    spread = SpreadConfig(**{key: share for key, (share, _, _) in of.items()})
    return spread, {key: (mean, reliability) for key, (_, mean, reliability) in of.items()}


def _staged_scores(turns: Turns, parts: Parts) -> Floats:
    """Return the growth of turns that go on as scores within their stage."""
    values = np.zeros(len(turns))
    for mask in growth_stages(turns, parts).values():
        values[mask] = scores(parts.growth[mask])
    going_on: Floats = values[parts.goes_on]
    return going_on


def growth_stages(turns: Turns, parts: Parts) -> dict[str, Mask]:
    """Return the turns that each of the growth tables speaks of."""
    context = np.searchsorted(GROWTH_CONTEXT, np.nan_to_num(turns.previous(turns.input)), "right")
    second = parts.goes_on & (turns.index == 1) & (context < SECOND_CLASSES)
    tool = parts.goes_on & ~turns.is_human & ~second
    by_class = {f"growth_tool/{k}": tool & (context == k) for k in range(len(GROWTH_CONTEXT) + 1)}
    stages = {"growth_human": parts.goes_on & turns.is_human & ~second, "growth_second": second, **by_class}
    return {key: mask if mask.sum() >= STAGE_TURNS_MIN else parts.goes_on for key, mask in stages.items()}


def _between(values: NDArray[Any], session: NDArray[np.int64], count: int) -> tuple[float, Floats, Floats]:
    """Return the share of variance between sessions (an analysis of variance), means and reliabilities."""
    sizes = np.bincount(session, minlength=count).astype(np.float64)
    sums = np.bincount(session, weights=values, minlength=count)
    means = np.where(sizes > 0, sums / np.maximum(sizes, 1), 0.0)
    groups = int((sizes > 0).sum())
    if len(values) <= groups or groups < 2:
        return 0.0, means, np.zeros(count)
    within = float(((values - means[session]) ** 2).sum()) / (len(values) - groups)
    share = float(np.clip(1.0 - within / max(float(values.var()), 1e-9), 0.0, LINK_MAX))
    reliability = sizes * share / (sizes * share + 1.0 - share)
    return round(share, 3), means, reliability


def _between_shares(happens: Mask, session: NDArray[np.int64], count: int) -> tuple[float, Floats, Floats]:
    """Return the same of a yes or no: on the normal scale behind it."""
    share, means, reliability = _between(happens.astype(np.float64), session, count)
    p = float(np.clip(happens.mean(), 0.01, 0.99))
    z = float(ppf(np.array(p)))
    density = float(np.exp(-z * z / 2.0) / np.sqrt(2.0 * np.pi))
    latent = float(np.clip(share * p * (1 - p) / density**2, 0.0, LINK_MAX))
    return round(latent, 3), scores(means), reliability


def _turns(turns: Turns, parts: Parts, spread: SpreadConfig) -> TurnsConfig:
    human = turns.is_human
    # Long waits bring rewrites about: rewritten turns' waits belong to the ones that they are drawn from.
    waits = parts.goes_on | parts.rewrite
    wait = {
        "tool_wait_s": waits & ~parts.blind & ~human,
        "human_wait_s": waits & ~parts.blind & human,
        "blind_wait_s": waits & parts.blind,
    }
    growth = {key: table_of(parts.growth[mask]) for key, mask in growth_stages(turns, parts).items()}
    if not wait["human_wait_s"].any():
        wait["human_wait_s"] = parts.goes_on & human if (parts.goes_on & human).any() else parts.goes_on
    if not wait["tool_wait_s"].any():
        wait["tool_wait_s"] = parts.goes_on
    known = (turns.agent == 0) & ~np.isnan(turns.service_s)
    return TurnsConfig(
        human_share=_share(human, parts.goes_on),
        blind_share_tool=_share(parts.blind, parts.goes_on & ~human),
        blind_share_human=_share(parts.blind, parts.goes_on & human),
        first_output=table_of(turns.output[parts.first]),
        output=table_of(turns.output[parts.later]),
        service_s=table_of(turns.service_s[known]),
        **{key: table_of(parts.wait[mask]) for key, mask in wait.items()},
        growth_context=GROWTH_CONTEXT,
        growth_tool=tuple(growth[f"growth_tool/{k}"] for k in range(len(GROWTH_CONTEXT) + 1)),
        growth_human=growth["growth_human"],
        growth_second=growth["growth_second"],
        spread=spread,
        links=_links(turns, parts),
    )


def _share(of: Mask, among: Mask) -> float:
    return short(float(of[among].mean())) if among.any() else 0.0


def _links(turns: Turns, parts: Parts) -> LinksConfig:
    """Return correlations within sessions, of scores less their session's mean."""
    session = turns.session
    known = parts.goes_on & ~parts.blind
    full = {
        "wait": _residual(parts.wait, known, session),
        "growth": _residual(parts.growth, parts.goes_on, session),
        "output": _residual(turns.output, turns.agent == 0, session),
        "service": _residual(turns.service_s, (turns.agent == 0) & ~np.isnan(turns.service_s), session),
    }
    before = {key: turns.previous(values) for key, values in full.items()}
    return LinksConfig(
        output_service=_link(full["output"], full["service"]),
        output_growth=_link(before["output"], full["growth"]),
        wait_growth=_link(full["wait"], full["growth"]),
        wait_output=_link(full["wait"], full["output"]),
        wait_wait=_link(full["wait"], before["wait"]),
        service_wait=_link(before["service"], full["wait"]),
    )


def _residual(values: NDArray[Any], mask: Mask, session: NDArray[np.int64]) -> Floats:
    full = np.full(len(values), np.nan)
    z = scores(values[mask])
    sizes = np.maximum(1, np.bincount(session[mask], minlength=int(session.max()) + 1))
    means = np.bincount(session[mask], weights=z, minlength=len(sizes)) / sizes
    full[mask] = z - means[session[mask]]
    return full


def _link(one: Floats, other: Floats) -> float:
    both = ~np.isnan(one) & ~np.isnan(other)
    if both.sum() < SESSIONS_AT_LEAST or one[both].std() == 0 or other[both].std() == 0:
        return 0.0
    return round(float(np.clip(np.corrcoef(one[both], other[both])[0, 1], -LINK_MAX, LINK_MAX)), 3)


def _breaks(turns: Turns, parts: Parts) -> BreaksConfig:
    main = turns.agent == 0
    longest = float(turns.input[main].max())
    limits, unlimited_share = _watermark(turns, parts)
    ordinary = parts.later & ~parts.compaction & (turns.index > 1) & ~parts.after_compaction
    classes = np.searchsorted(REWRITE_WAIT_S, parts.wait, "right")
    rewritten = parts.growth[parts.rewrite]
    return BreaksConfig(
        watermark=limits if limits else tuple(longest + 1.0 for _ in LEVELS),
        unlimited_share=unlimited_share,
        unlimited_tokens=max(1, round(longest * 1.1)),
        compacted_input=table_of(turns.input[parts.compaction]),
        compacted_kept=table_of(turns.kept_tokens[parts.compaction]),
        compaction_wait_s=table_of(parts.wait[parts.compaction]),
        rewrite_wait_s=REWRITE_WAIT_S,
        rewrite_share=tuple(
            _share(parts.rewrite, ordinary & (classes == k)) for k in range(len(REWRITE_WAIT_S) + 1)
        ),
        rewrite_share_second=_share(parts.rewrite, parts.later & (turns.index == 1)),
        rewrite_share_compacted=_share(parts.rewrite, parts.after_compaction),
        rewrite_growth=table_of(rewritten),
        rewrite_kept=table_of(turns.kept_tokens[parts.rewrite]),
        tail_share=_share(parts.tail, parts.goes_on),
        tail_tokens=table_of(parts.lost[parts.tail]),
    )


def _watermark(turns: Turns, parts: Parts) -> tuple[tuple[float, ...], float]:
    """Return the watermarks of sessions that have one, and the share of those that have none.

    Most sessions end before they compact: their last input only says that their watermark is higher. So this
    is the Kaplan-Meier estimate over cycles, from a start or a compaction to the next one or the end.
    """
    before = np.nan_to_num(turns.previous(turns.input))
    marks = before[parts.compaction]
    if len(marks) == 0:
        return (), 1.0
    # A compaction far from the usual watermark says more of a pull-back.
    middle = float(np.median(marks))
    is_mark = parts.compaction & (before >= middle * COMPACTED_BELOW) & (before <= middle / COMPACTED_BELOW)
    is_start = parts.first | parts.compaction
    is_end = np.concatenate((is_start[1:] | (turns.agent[1:] > 0), [True])) & (turns.agent == 0)
    starts, ends = turns.input[is_start], turns.input[is_end]
    has_event = np.concatenate((is_mark[1:], [False]))[is_end]
    could = starts < middle * COMPACTED_BELOW
    ends, has_event = ends[could], has_event[could]
    order = np.argsort(ends, kind="stable")
    ends, has_event = ends[order], has_event[order]
    at_risk = len(ends) - np.arange(len(ends))
    alive = np.cumprod(np.where(has_event, 1.0 - 1.0 / at_risk, 1.0))
    left = float(alive[-1])
    if left >= 1.0:
        return (), 1.0
    died = (1.0 - alive[has_event]) / (1.0 - left)
    places = np.concatenate(([0.0], died))
    values = np.concatenate((ends[has_event][:1], ends[has_event])).astype(np.float64)
    return tuple(short(value) for value in np.interp(LEVELS, places, values)), short(left)


def _subagents(observed: Observed) -> SubagentsConfig | None:
    children, turns = observed.children, observed.turns
    if not children:
        return None
    sub = turns.agent > 0
    later = sub & (turns.index > 0)
    counts = np.bincount([child.session for child in children], minlength=len(observed.starts_s))
    requests = np.bincount(turns.session[turns.agent == 0], minlength=len(counts))
    share = float((counts > 0).mean())
    keys = [(child.session, child.after) for child in children]
    together = sum(keys.count(key) - 1 for key in set(keys))
    service_before = turns.previous(turns.service_s)
    wait = np.where(np.isnan(service_before), turns.gap_s, turns.gap_s - service_before)
    growth = np.nan_to_num(turns.growth)
    agents = turns.session[sub] * 100_000 + turns.agent[sub]
    return SubagentsConfig(
        session_share=short(share),
        requests_link=_biserial(scores(requests), counts > 0),
        count=table_of(counts[counts > 0]),
        requests=table_of(np.unique(agents, return_counts=True)[1]),
        start_context=table_of(turns.input[sub & (turns.index == 0)]),
        shared_tokens=observed.child_shared_tokens,
        growth=table_of(growth[later & (growth > 0)]),
        output=table_of(turns.output[sub]),
        service_s=table_of(turns.service_s[sub & ~np.isnan(turns.service_s)]),
        wait_s=table_of(np.maximum(0.0, wait[later])),
        delay_s=table_of(np.array([child.delay_s for child in children])),
        together_share=short(together / max(1, len(children) - int((counts > 0).sum()))),
        joined_share=short(sum(child.joined for child in children) / len(children)),
        tool_tokens=int(np.median([child.tool_tokens for child in children])),
        system_tokens=int(np.median([child.system_tokens for child in children])),
    )


def _biserial(z: Floats, happens: Mask) -> float:
    """Return the correlation of a normal with the normal behind a yes or no."""
    p = float(happens.mean())
    if not 0 < p < 1:
        return 0.0
    cut = float(ppf(np.array(p)))
    density = float(np.exp(-cut * cut / 2.0) / np.sqrt(2.0 * np.pi))
    return round(float(np.clip(z[happens].mean() * p / density, -LINK_MAX, LINK_MAX)), 3)
