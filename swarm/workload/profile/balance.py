"""Sets of sessions that are alike: of several candidates for each place, the one that fits the rest best.

Sessions differ so much that totals of a hundred drawn freely scatter by a tenth. So each session is chosen
among candidates, all drawn from the profile, such that sums over the first sessions of a group, few or many,
lie close to the profile's means: first one after the other, then each anew with the others as they are.
What is chosen depends on the seed and the group alone: session k is the same however many are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.config.profile import TOTALS, BalanceConfig, ProfileFile
from swarm.streams import stream
from swarm.workload.profile.sample import AgentPlan, Sampler, SessionPlan
from swarm.workload.profile.tables import short
from swarm.workload.profile.turns import Floats, Turns

GROUP = 128
"""Sessions that are balanced together."""
CANDIDATES = 64
SWEEPS = 4
"""Times that each session of a group is chosen anew."""
CHECK_EVERY = 8
"""Sums over the first 8, 16, ... sessions of a group are held close to the profile's means."""
BALANCED_MAX = 8 * GROUP
"""Sessions from this one on are drawn freely: so many together are alike in any case."""
EDGES_COUNT = 12
ANY_GAP_S = 1e9
TTLS_S = (60.0, 300.0, 3600.0, ANY_GAP_S)
CACHE_TOKENS = (4_000.0, 8_000.0, 16_000.0, 28_000.0, 40_000.0, 56_000.0, 80_000.0)
"""Of caches, for each session that shares them."""
WITHIN_S = (15.0, 30.0, 90.0, 600.0, 3600.0, 14400.0)
TIME_LEVELS = (0.02, *(k / 20 for k in range(1, 20)), 0.98)

_SHARE_SCALE = 0.0045
"""A distribution function off by so much weighs as much as a total off by _TOTAL_SCALE of it."""
_TOTAL_SCALE = 0.003
_FRESH_SCALE = 0.004
_DELEGATED_SCALE = 0.2
_MISS_SCALE = 0.004
"""Of the tokens that miss under a TTL."""
_TIME_SCALE = 0.012
"""Of all tokens, as the next."""
_REACH_SCALE = 0.0015
_HELD_SCALE = 0.035


def rows_of(plans: Sequence[SessionPlan]) -> Turns:
    """Return the requests of sampled sessions as columns."""
    agents: list[tuple[AgentPlan, float, int, int]] = []
    for session, plan in enumerate(plans):
        agents.append((plan.main, 0.0, session, 0))
        agents += [(child.plan, child.start_s, session, k) for k, child in enumerate(plan.children, 1)]
    sizes = [len(agent.input) for agent, _, _, _ in agents]
    index = np.concatenate([np.arange(size) for size in sizes])
    at_s = np.concatenate([agent.at_s for agent, _, _, _ in agents])
    first = index == 0
    gap_s = np.where(first, np.nan, at_s - np.concatenate(([0.0], at_s[:-1])))
    think_s = np.concatenate([agent.think_s for agent, _, _, _ in agents])
    kept = np.concatenate([agent.kept for agent, _, _, _ in agents])
    return Turns(
        session=np.repeat([session for _, _, session, _ in agents], sizes),
        agent=np.repeat([number for _, _, _, number in agents], sizes),
        index=index,
        at_s=at_s + np.repeat([start_s for _, start_s, _, _ in agents], sizes),
        input=np.concatenate([agent.input for agent, _, _, _ in agents]),
        output=np.concatenate([agent.output for agent, _, _, _ in agents]),
        kept_tokens=kept,
        known_tokens=kept,
        gap_s=gap_s,
        think_s=np.where(first, np.nan, think_s),
        service_s=np.concatenate([agent.service_s for agent, _, _, _ in agents]),
        is_human=np.concatenate([agent.is_human for agent, _, _, _ in agents]),
    )


def measure(turns: Turns, balance: BalanceConfig, block_tokens: int, sessions: int) -> Floats:
    """Return one row of sums for each session."""
    later = turns.index > 0
    whole = (turns.input // block_tokens) * block_tokens
    known = ((turns.known_tokens // block_tokens) * block_tokens)[:, None]
    gap_s = np.where(later, turns.gap_s, np.inf)
    tokens = turns.input[:, None]
    band = np.minimum(np.searchsorted(balance.time_edges_s, turns.at_s), len(balance.reach_s) - 1)
    blocks = [
        np.stack([np.ones(len(turns)), turns.input, whole, whole - known[:, 0], turns.agent > 0], axis=1),
        _below(turns.input, balance.input_edges),
        _below(turns.output, balance.output_edges),
        _below(gap_s, balance.gap_edges_s),
        _below(np.where(later & ~np.isnan(turns.think_s), turns.think_s, np.inf), balance.think_edges_s),
        _below(np.where(later, np.nan_to_num(turns.growth), np.inf), balance.growth_edges),
        known * _below(gap_s, balance.ttls_s),
        tokens * _below(turns.at_s, balance.time_edges_s),
        known * (gap_s[:, None] <= np.array(balance.reach_s)[band]),
        _held(turns, balance.time_edges_s, balance.within_s),
    ]
    starts = np.searchsorted(turns.session, np.arange(sessions))
    sums: Floats = np.add.reduceat(np.concatenate(blocks, axis=1), starts, axis=0)
    return sums


def _below(values: NDArray[Any], edges: Sequence[float]) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = values[:, None] <= np.array(edges)
    return below


def _held(turns: Turns, time_edges_s: Sequence[float], within_s: Sequence[float]) -> Floats:
    """Return what each request adds to the tokens used within the last w seconds, for each w and time band.

    How much all sessions use between two requests of one decides what a small cache still holds.
    """
    is_last = np.concatenate((turns.index[1:] == 0, [True]))
    until_next = np.where(is_last, np.inf, np.concatenate((turns.at_s[1:] - turns.at_s[:-1], [np.inf])))
    until_s = turns.at_s[:, None] + np.minimum(until_next[:, None], np.array(within_s))
    high = np.array(time_edges_s)
    low = np.concatenate(([0.0], high[:-1]))
    inside_s = np.clip(until_s[:, :, None], low, high) - np.clip(turns.at_s[:, None, None], low, high)
    held: Floats = turns.input[:, None, None] * inside_s / np.maximum(high - low, 1e-9)
    return held.reshape(len(turns), -1)


def balance_of(turns: Turns, block_tokens: int, sessions: int) -> BalanceConfig:
    """Return what sampled sessions are held close to: the means of recorded ones."""
    later = turns.index > 0
    order = np.argsort(turns.at_s, kind="stable")
    sent = np.cumsum(turns.input[order])
    places = np.searchsorted(sent, np.array(TIME_LEVELS) * sent[-1])
    think_s = turns.think_s[later & ~np.isnan(turns.think_s)]
    time_edges_s = tuple(sorted({short(turns.at_s[order][place]) for place in places}))
    held = _held(turns, time_edges_s, WITHIN_S).sum(axis=0).reshape(len(WITHIN_S), -1) / sessions
    empty = BalanceConfig(
        input_edges=_edges(turns.input, 2 * EDGES_COUNT),
        output_edges=_edges(turns.output, EDGES_COUNT),
        gap_edges_s=_edges(turns.gap_s[later], EDGES_COUNT),
        think_edges_s=_edges(think_s, EDGES_COUNT) if len(think_s) else (),
        growth_edges=_edges(turns.growth[later], EDGES_COUNT),
        ttls_s=TTLS_S,
        time_edges_s=time_edges_s,
        reach_s=tuple(_reach_s(column) for column in held.T),
        within_s=WITHIN_S,
        targets=(),
    )
    means = measure(turns, empty, block_tokens, sessions).mean(axis=0)
    return empty.model_copy(update={"targets": tuple(short(value) for value in means)})


def _reach_s(held: Floats) -> tuple[float, ...]:
    """Return how long caches of CACHE_TOKENS a session hold a prompt, from the tokens used within WITHIN_S.

    A least-recently-used cache loses what it held when as much as it holds has been used since.
    """
    within = np.log([1.0, *WITHIN_S])
    reach = np.interp(CACHE_TOKENS, np.maximum.accumulate([0.0, *held]), within, right=np.log(ANY_GAP_S))
    return tuple(short(value) for value in np.exp(reach))


def _edges(values: NDArray[Any], count: int) -> tuple[float, ...]:
    levels = (np.arange(count) + 1.0) / (count + 1.0)
    return tuple(sorted({short(value) for value in np.quantile(values, levels)}))


class Yardstick:
    """How far sums over sessions are from the targets.

    Distributions are compared as shares of the requests there are, hits as shares of their tokens: the totals
    are compared once, by themselves.
    """

    def __init__(self, balance: BalanceConfig) -> None:
        targets = np.array(balance.targets)
        requests, tokens, whole, fresh, delegated = targets[:TOTALS]
        edges = (
            balance.input_edges,
            balance.output_edges,
            balance.gap_edges_s,
            balance.think_edges_s,
            balance.growth_edges,
        )
        counts = (
            TOTALS,
            sum(map(len, edges)),
            len(balance.ttls_s),
            len(balance.time_edges_s),
            len(balance.reach_s[0]),
        )
        _, self._shares, missed, timed, reached, held = _slices(counts, len(targets))
        self._rates = slice(missed.start, held.start)
        self._targets = targets
        self._scales = np.empty(len(targets))
        self._scales[:TOTALS] = (
            requests * _TOTAL_SCALE,
            tokens * _TOTAL_SCALE,
            whole * _TOTAL_SCALE,
            fresh * _FRESH_SCALE,
            delegated * _DELEGATED_SCALE,
        )
        self._scales[self._shares] = requests * _SHARE_SCALE
        self._scales[missed] = (tokens - targets[missed]) * _MISS_SCALE
        self._scales[timed] = tokens * _TIME_SCALE
        self._scales[reached] = tokens * _REACH_SCALE
        self._scales[held] = targets[held] * _HELD_SCALE
        self._scales = np.maximum(self._scales, 1e-9)

    def distances(self, sums: Floats, sessions: int) -> Floats:
        """Return the squared distance of each row of sums over so many sessions."""
        means = sums / sessions
        means[:, self._shares] *= self._targets[0] / means[:, 0:1]
        means[:, self._rates] *= self._targets[1] / means[:, 1:2]
        off = (means - self._targets) / self._scales
        squared: Floats = (off * off).sum(axis=1)
        return squared


class Balanced:
    """Sessions of a profile by number, each group of GROUP balanced in itself.

    `choices` are those of the first sessions where they are known: they need not be weighed again.
    """

    def __init__(self, profile: ProfileFile, seed: int, choices: Sequence[int]) -> None:
        self._sampler = Sampler(profile)
        self._profile = profile
        self._balance = profile.balance
        self._yardstick = Yardstick(profile.balance) if profile.balance is not None else None
        self._candidates_count = CANDIDATES if profile.balance is not None else 1
        self._seed = seed
        self._known = tuple(choices)
        self._groups: dict[int, tuple[int, ...]] = {}

    def plan(self, index: int) -> SessionPlan:
        """Return session `index`."""
        choice = self.choice(index)
        return self._candidates(*divmod(index, GROUP))[choice]

    def choice(self, index: int) -> int:
        """Return which of its candidates session `index` is."""
        if index < len(self._known):
            return self._known[index]
        if index >= BALANCED_MAX:
            return 0
        number, place = divmod(index, GROUP)
        if number not in self._groups:
            self._groups[number] = self._chosen(number)
        return self._groups[number][place]

    def _candidates(self, group: int, place: int) -> list[SessionPlan]:
        shift = stream(self._seed, "profile-lengths", str(group)).random()
        requests_p = (_reversed_bits(place) + shift) % 1.0
        generator = stream(self._seed, "profile", f"{group}/{place}")
        return self._sampler.sessions(requests_p, generator, self._candidates_count)

    def _chosen(self, group: int) -> tuple[int, ...]:
        """Return the choices of a whole group."""
        balance, yardstick = self._balance, self._yardstick
        if balance is None or yardstick is None:
            return (0,) * GROUP
        sums = []
        for place in range(GROUP):
            candidates = self._candidates(group, place)
            sums.append(measure(rows_of(candidates), balance, self._profile.block_tokens, len(candidates)))
        return choose(np.array(sums), yardstick)


def _slices(counts: Sequence[int], size: int) -> list[slice]:
    """Return where parts of so many columns lie one after the other, and the rest of `size` of them."""
    ends = [*np.cumsum(counts).tolist(), size]
    return [slice(start, end) for start, end in pairwise([0, *ends])]


def choose(sums: Floats, yardstick: Yardstick) -> tuple[int, ...]:
    """Return a candidate for each place; `sums` has the shape (places, candidates, what is summed)."""
    chosen: list[int] = []
    total = np.zeros(sums.shape[2])
    for place, candidates in enumerate(sums):
        chosen.append(int(np.argmin(yardstick.distances(total + candidates, place + 1))))
        total = total + candidates[chosen[-1]]
    checks = np.arange(CHECK_EVERY, len(sums) + 1, CHECK_EVERY)
    prefixes = np.cumsum(sums[np.arange(len(sums)), chosen], axis=0)[checks - 1]
    for _ in range(SWEEPS):
        before = list(chosen)
        for place, candidates in enumerate(sums):
            first = place // CHECK_EVERY
            others = prefixes[first:] - candidates[chosen[place]]
            off = np.zeros(len(candidates))
            for count, rest in zip(checks[first:], others, strict=True):
                off += np.sqrt(count) * yardstick.distances(rest + candidates, count)
            chosen[place] = int(np.argmin(off))
            prefixes[first:] = others + candidates[chosen[place]]
        if chosen == before:
            break
    return tuple(chosen)


def _reversed_bits(index: int) -> float:
    """Return the van der Corput sequence: each prefix of it is spread evenly over [0, 1)."""
    value, step = 0.0, 0.5
    while index:
        value += step * (index & 1)
        index >>= 1
        step /= 2.0
    return value
