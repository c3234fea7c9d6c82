"""Sessions drawn from a profile: plans of their agents' requests."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.config.profile import LATENTS, ProfileFile, SubagentsConfig, Table
from swarm.workload.profile.normal import cdf, ppf
from swarm.workload.profile.turns import Floats, Ints

Bools = NDArray[np.bool_]
REQUESTS_MAX = 5_000
"""Most requests of one agent, whatever a profile says."""
CHILDREN_MAX = 64
GROWN_AT_LEAST = 1
OUTPUT_AT_LEAST = 1
PREFIX_SHARE_MAX = 0.95
"""Of a first input, what the shared prefix may fill."""


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent's requests in order; NaN where a recording would not know.

    `kept[k]` is how many tokens of request k-1 request k starts with; less than all is a break.
    """

    input: Ints
    output: Ints
    kept: Ints
    at_s: Floats
    think_s: Floats
    service_s: Floats
    is_human: Bools
    tool_tokens: int
    system_tokens: int


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """A sub-agent that starts after request `after` of the orchestrator, `start_s` after the session."""

    plan: AgentPlan
    after: int
    start_s: float
    joined: bool


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """A sampled session."""

    main: AgentPlan
    children: tuple[ChildPlan, ...]
    arrival_s: float


@dataclass(frozen=True, slots=True)
class Draws:
    """What chance decided of orchestrators' turns, as probabilities: a row a session, a column a request."""

    human: Floats
    is_human: Bools
    is_blind: Bools
    output: Floats
    service: Floats
    wait: Floats
    growth: Floats
    breaks: Floats
    """Four uniforms for each turn: whether and how a prompt breaks with the one before."""


class Sampler:
    """Draws sessions of a profile, several of one length at once."""

    def __init__(self, profile: ProfileFile) -> None:
        self.profile = profile
        self._levels = np.array(profile.levels)
        self._bent: dict[Table, Floats] = {}
        self._root = _root_of(np.array(profile.sessions.correlation))

    def at(self, table: Table, p: Floats) -> Floats:
        """Return a table's values at probabilities."""
        bent = self._bent.get(table)
        if bent is None:
            bent = self._bent[table] = np.arcsinh(np.array(table, dtype=np.float64))
        return np.sinh(np.interp(p, self._levels, bent))

    def count(self, requests_p: float) -> int:
        """Return the requests of an orchestrator."""
        drawn = float(self.at(self.profile.sessions.requests, np.array(requests_p)))
        return max(1, min(REQUESTS_MAX, round(drawn)))

    def latents(self, requests_p: float, generator: np.random.Generator, sessions: int) -> Floats:
        """Return the sessions' own normals, a row each; the first is that of `requests_p`."""
        drawn = generator.standard_normal((sessions, len(LATENTS)))
        drawn[:, 0] = ppf(np.array(requests_p))
        latents: Floats = drawn @ self._root.T
        return latents

    def draws(self, latents: Floats, count: int, generator: np.random.Generator) -> Draws:
        """Return the chances of orchestrators' turns."""
        turns = self.profile.turns
        spread, links = turns.spread, turns.links
        own = {name: latents[:, k : k + 1] for k, name in enumerate(LATENTS)}
        normals = generator.standard_normal((5, len(latents), count))
        uniforms = generator.random((5, len(latents), count))
        human = cdf(_mixed(own["human_share"], normals[4], spread.human_share))
        is_human = human > 1.0 - turns.human_share
        blind_share = np.where(is_human, turns.blind_share_human, turns.blind_share_tool)
        wait = _chained(normals[0], links.wait_wait)
        output = _linked(normals[1], wait, links.wait_output)
        before = np.concatenate((np.zeros((len(latents), 1)), output[:, :-1]), axis=1)
        growth = _linked(_linked(normals[2], wait, links.wait_growth), before, links.output_growth)
        after = np.concatenate((wait[:, 1:], np.zeros((len(latents), 1))), axis=1)
        service = _linked(_linked(normals[3], after, links.service_wait), output, links.output_service)
        waits = np.where(
            is_human,
            _mixed(own["human_wait"], wait, spread.human_wait),
            _mixed(own["tool_wait"], wait, spread.tool_wait),
        )
        return Draws(
            human=human,
            is_human=is_human,
            is_blind=uniforms[0] < blind_share,
            output=cdf(_mixed(own["output"], output, spread.output)),
            service=cdf(_mixed(own["service"], service, spread.service)),
            wait=cdf(waits),
            growth=cdf(_mixed(own["growth"], growth, spread.growth)),
            breaks=uniforms[1:],
        )

    def sessions(self, requests_p: float, generator: np.random.Generator, sessions: int) -> list[SessionPlan]:
        """Return sessions; `requests_p` says where in the distribution of lengths they lie."""
        count = self.count(requests_p)
        latents = self.latents(requests_p, generator, sessions)
        once = generator.random((8, sessions))
        mains = self.mains(latents, once, self.draws(latents, count, generator))
        has_children = self._has_children(latents[:, 0], once[6])
        arrival = self.profile.sessions.arrival_s
        arrivals_s = np.zeros(sessions) if arrival is None else self.at(arrival, once[7])
        return [
            SessionPlan(main, self._children(main, generator) if has else (), float(arrival_s))
            for main, has, arrival_s in zip(mains, has_children, arrivals_s, strict=True)
        ]

    def mains(self, latents: Floats, once: Floats, draws: Draws) -> list[AgentPlan]:
        """Return the orchestrators of sessions; `once` has four rows or more of chances."""
        sessions, turns, breaks = self.profile.sessions, self.profile.turns, self.profile.breaks
        count = draws.output.shape[1]
        starts = np.maximum(2, np.rint(self.at(sessions.start_context, cdf(latents[:, 1])))).astype(np.int64)
        tools = np.rint(self.at(sessions.tool_tokens, once[0])).astype(np.int64)
        systems = np.rint(self.at(sessions.system_tokens, once[1])).astype(np.int64)
        limits = self.at(breaks.watermark, once[2])
        has_limit = (starts <= limits) & (once[3] >= breaks.unlimited_share)
        limits = np.where(has_limit, limits, float(breaks.unlimited_tokens))
        output = self.at(turns.output, draws.output)
        output[:, 0] = self.at(turns.first_output, draws.output[:, 0])
        output = np.maximum(OUTPUT_AT_LEAST, np.rint(output)).astype(np.int64)
        service = np.maximum(0.01, np.round(self.at(turns.service_s, draws.service), 2))
        wait = np.where(
            draws.is_human, self.at(turns.human_wait_s, draws.wait), self.at(turns.tool_wait_s, draws.wait)
        )
        wait = np.where(draws.is_blind, self.at(turns.blind_wait_s, draws.wait), wait)
        growth = np.maximum(GROWN_AT_LEAST, np.rint(self._growth(draws))).astype(np.int64)
        plans = []
        for k in range(len(starts)):
            path = Path(self, draws.breaks[:, k], limit=float(limits[k]), count=count)
            path.walk(int(starts[k]), growth[:, k], wait[k])
            prefix = _fitting(int(tools[k]), int(systems[k]), int(starts[k]))
            plans.append(_timed(draws.is_human[k], draws.is_blind[k], path, output[k], service[k], prefix))
        return plans

    def _growth(self, draws: Draws) -> Floats:
        """Return what each turn adds, by class of the context before it."""
        turns, p = self.profile.turns, draws.growth
        human = self.at(turns.growth_human, p)
        growth = np.array([np.where(draws.is_human, human, self.at(table, p)) for table in turns.growth_tool])
        growth[:SECOND_CLASSES, :, 1:2] = self.at(turns.growth_second, p[:, 1:2])
        return growth

    def _has_children(self, requests: Floats, chance: Floats) -> list[bool]:
        spec = self.profile.subagents
        if spec is None:
            return [False] * len(requests)
        has: list[bool] = (
            cdf(_linked(ppf(chance), requests, spec.requests_link)) > 1.0 - spec.session_share
        ).tolist()
        return has

    def _children(self, main: AgentPlan, generator: np.random.Generator) -> tuple[ChildPlan, ...]:
        spec = self.profile.subagents
        assert spec is not None
        count = min(CHILDREN_MAX, max(1, round(float(self.at(spec.count, generator.random(1))[0]))))
        children: list[ChildPlan] = []
        after = 0
        for _ in range(count):
            if not children or generator.random() >= spec.together_share:
                after = int(generator.integers(0, len(main.input)))
            children.append(self._child(spec, main, after, generator))
        return tuple(sorted(children, key=lambda child: (child.after, child.start_s)))

    def _child(
        self, spec: SubagentsConfig, main: AgentPlan, after: int, generator: np.random.Generator
    ) -> ChildPlan:
        count = max(1, round(float(self.at(spec.requests, generator.random(1))[0])))
        u = generator.random((5, min(REQUESTS_MAX, count)))
        start = max(2, round(float(self.at(spec.start_context, u[4, :1])[0])))
        growth = np.maximum(GROWN_AT_LEAST, np.rint(self.at(spec.growth, u[0])))
        growth[0] = start
        inputs = np.cumsum(growth).astype(np.int64)
        service = np.maximum(0.01, np.round(self.at(spec.service_s, u[2]), 2))
        think = np.rint(self.at(spec.wait_s, u[3]))
        gap = np.maximum(1.0, np.ceil(think[1:] + service[:-1]))
        at_s = np.concatenate(([0.0], np.cumsum(gap)))
        think[0] = 0.0
        tools, system = _fitting(spec.tool_tokens, spec.system_tokens, start)
        plan = AgentPlan(
            input=inputs,
            output=np.maximum(OUTPUT_AT_LEAST, np.rint(self.at(spec.output, u[1]))).astype(np.int64),
            kept=np.concatenate(([0], inputs[:-1])),
            at_s=at_s,
            think_s=think,
            service_s=service,
            is_human=np.zeros(len(inputs), dtype=np.bool_),
            tool_tokens=tools,
            system_tokens=system,
        )
        delay_s = float(self.at(spec.delay_s, generator.random(1))[0])
        is_last = after + 1 >= len(main.at_s)
        gap_s = delay_s if is_last else float(main.at_s[after + 1] - main.at_s[after])
        start_s = float(main.at_s[after]) + round(min(delay_s, 0.9 * gap_s), 3)
        end_s = start_s + float(at_s[-1] + service[-1])
        return ChildPlan(plan, after, start_s, not is_last and end_s <= main.at_s[after + 1])


SECOND_CLASSES = 2
"""Second requests after so small a context, by class, grow unlike later ones: a session reads its files."""


class Path:
    """An orchestrator's inputs: growth up to a watermark, compactions, rewrites, small pull-backs."""

    def __init__(self, sampler: Sampler, chances: Floats, *, limit: float, count: int) -> None:
        self._sampler = sampler
        self._breaks = sampler.profile.breaks
        self._u = chances.tolist()
        self._limit = limit
        self.input = np.zeros(count, dtype=np.int64)
        self.kept = np.zeros(count, dtype=np.int64)
        self.wait = np.zeros(count)
        self.is_compaction = np.zeros(count, dtype=np.bool_)

    def walk(self, start: int, growth: Ints, wait: Floats) -> None:
        """Lay out all inputs; `growth` has a row for each class of context."""
        breaks = self._breaks
        edges, grown = self._sampler.profile.turns.growth_context, growth.tolist()
        shares = np.array(breaks.rewrite_share)[
            np.searchsorted(breaks.rewrite_wait_s, wait, "right")
        ].tolist()
        self.wait[:] = wait
        chances, tails = self._u[0], self._u[1]
        if len(shares) > 1:
            shares[1] = breaks.rewrite_share_second
        inputs, kept = [start], [0]
        before, compacted = start, False
        for k in range(1, len(self.input)):
            share = breaks.rewrite_share_compacted if compacted else shares[k]
            after, keeps = before + grown[bisect_right(edges, before)][k], before
            compacted = after > self._limit
            if compacted:
                after, keeps = self._compact(k, before)
            elif chances[k] < share:
                after, keeps = self._rewrite(k, before)
            elif tails[k] < breaks.tail_share:
                keeps = max(0, before - round(self._value(breaks.tail_tokens, tails[k] / breaks.tail_share)))
            inputs.append(after)
            kept.append(keeps)
            before = after
        self.input[:], self.kept[:] = inputs, kept

    def _value(self, table: Table, p: float) -> float:
        return float(self._sampler.at(table, np.array([p]))[0])

    def _compact(self, k: int, before: int) -> tuple[int, int]:
        breaks = self._breaks
        after = min(before, max(2, round(self._value(breaks.compacted_input, self._u[2][k]))))
        kept = round(self._value(breaks.compacted_kept, self._u[3][k]))
        self.wait[k] = self._value(breaks.compaction_wait_s, self._u[0][k])
        self.is_compaction[k] = True
        return after, min(kept, after - 1, before)

    def _rewrite(self, k: int, before: int) -> tuple[int, int]:
        breaks = self._breaks
        after = before + round(self._value(breaks.rewrite_growth, self._u[2][k]))
        after = min(max(2, after), max(before, int(self._limit)))
        kept = round(self._value(breaks.rewrite_kept, self._u[3][k]))
        return after, min(kept, after - 1, before)


def _timed(
    is_human: Bools, is_blind: Bools, path: Path, output: Ints, service: Floats, prefix: tuple[int, int]
) -> AgentPlan:
    """Return the plan with its clock, in whole seconds as recordings have them."""
    is_blind = is_blind & ~path.is_compaction
    is_blind[0] = False
    busy = np.concatenate(([0.0], np.where(is_blind[1:], 0.0, service[:-1])))
    wait = np.maximum(0.0, path.wait)
    gap = np.maximum(1.0, np.rint(wait + busy))
    gap[0] = 0.0
    at_s = np.cumsum(gap)
    unknown = np.concatenate((is_blind[1:], [False]))
    service = np.where(unknown, np.nan, service)
    # Where the previous service time is unknown, a recorder counts from the last end that it knows.
    known = np.where(unknown, -np.inf, at_s + np.nan_to_num(service))
    last = np.concatenate(([0.0], np.maximum.accumulate(known)[:-1]))
    think = np.maximum(0.0, np.rint(at_s - np.maximum(last, 0.0)))
    think = np.where(is_blind, think, np.rint(wait))
    think[0] = 0.0
    return AgentPlan(
        input=path.input,
        output=output,
        kept=path.kept,
        at_s=at_s,
        think_s=think,
        service_s=service,
        is_human=is_human | path.is_compaction,
        tool_tokens=prefix[0],
        system_tokens=prefix[1],
    )


def _root_of(correlation: Floats) -> Floats:
    """Return a lower root of the nearest matrix that is one: eigenvalues cut at 0, unit diagonal."""
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2.0)
    nearest = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    scale = np.sqrt(np.diag(nearest))
    root: Floats = np.linalg.cholesky(nearest / np.outer(scale, scale))
    return root


def _mixed(own: Floats, turn: Floats, share: float) -> Floats:
    mixed: Floats = np.sqrt(share) * own + np.sqrt(1.0 - share) * turn
    return mixed


def _linked(free: Floats, other: Floats, link: float) -> Floats:
    linked: Floats = link * other + np.sqrt(1.0 - link * link) * free
    return linked


def _chained(free: Floats, link: float) -> Floats:
    """Return first-order chains with unit variance along the last axis."""
    scale = float(np.sqrt(1.0 - link * link))
    chained = free.copy()
    for k in range(1, free.shape[-1]):
        chained[..., k] = link * chained[..., k - 1] + scale * free[..., k]
    return chained


def _fitting(tools: int, system: int, start: int) -> tuple[int, int]:
    """Return the prefix's parts, cut down where the first input is not longer than they are."""
    room = int(start * PREFIX_SHARE_MAX)
    if tools + system <= room:
        return tools, system
    tools = min(tools, room * tools // (tools + system))
    return tools, room - tools
