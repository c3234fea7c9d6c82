"""Sessions drawn from a profile: plans of their agents' requests."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from swarm.config.profile import LATENTS, ProfileFile, Table
from swarm.workload.profile.normal import cdf, ppf
from swarm.workload.profile.turns import Floats, Ints

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
    is_human: NDArray[np.bool_]
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
    """What chance decided of an orchestrator's turns, as probabilities; row 0 is the first request."""

    is_human: NDArray[np.bool_]
    is_blind: NDArray[np.bool_]
    output: Floats
    service: Floats
    wait: Floats
    growth: Floats
    breaks: Floats
    """Four uniform columns: whether and how a prompt breaks with the one before."""


class Sampler:
    """Draws sessions of a profile."""

    def __init__(self, profile: ProfileFile) -> None:
        self.profile = profile
        self._levels = np.array(profile.levels)
        self._tables: dict[Table, Floats] = {}
        self._root = _root_of(np.array(profile.sessions.correlation))

    def at(self, table: Table, p: Floats) -> Floats:
        """Return a table's values at probabilities."""
        bent = self._tables.get(table)
        if bent is None:
            bent = self._tables[table] = np.arcsinh(np.array(table, dtype=np.float64))
        return np.sinh(np.interp(p, self._levels, bent))

    def latents(self, requests_p: float, generator: np.random.Generator) -> Floats:
        """Return a session's own normals; the first is that of `requests_p`."""
        drawn = generator.standard_normal(len(LATENTS))
        drawn[0] = float(ppf(np.array(requests_p)))
        latents: Floats = self._root @ drawn
        return latents

    def count(self, requests_p: float) -> int:
        """Return the requests of an orchestrator."""
        drawn = float(self.at(self.profile.sessions.requests, np.array(requests_p)))
        return max(1, min(REQUESTS_MAX, round(drawn)))

    def draws(self, latents: Floats, count: int, generator: np.random.Generator) -> Draws:
        """Return the chances of an orchestrator's turns."""
        turns = self.profile.turns
        spread, links = turns.spread, turns.links
        own = dict(zip(LATENTS, latents.tolist(), strict=True))
        normals = generator.standard_normal((4, count))
        uniforms = generator.random((6, count))
        human = cdf(_mixed(own["human_share"], normals[0] * 0 + ppf(uniforms[0]), spread.human_share))
        is_human = human > 1.0 - turns.human_share
        blind_share = np.where(is_human, turns.blind_share_human, turns.blind_share_tool)
        wait = _chained(normals[0], links.wait_wait)
        output = _linked(normals[1], wait, links.wait_output)
        before = np.concatenate(([0.0], output[:-1]))
        growth = _linked(_linked(normals[2], wait, links.wait_growth), before, links.output_growth)
        service = _linked(normals[3], output, links.output_service)
        waits = np.where(
            is_human,
            _mixed(own["human_wait"], wait, spread.human_wait),
            _mixed(own["tool_wait"], wait, spread.tool_wait),
        )
        return Draws(
            is_human=is_human,
            is_blind=uniforms[1] < blind_share,
            output=cdf(_mixed(own["output"], output, spread.output)),
            service=cdf(service),
            wait=cdf(waits),
            growth=cdf(_mixed(own["growth"], growth, spread.growth)),
            breaks=uniforms[2:],
        )

    def session(self, requests_p: float, generator: np.random.Generator) -> SessionPlan:
        """Return a session; `requests_p` says where in the distribution of lengths it lies."""
        count = self.count(requests_p)
        latents = self.latents(requests_p, generator)
        once = generator.random(8)
        main = self._main(latents, once, self.draws(latents, count, generator))
        children = self._children(latents, once[6], main, generator)
        arrival = self.profile.sessions.arrival_s
        arrival_s = 0.0 if arrival is None else float(self.at(arrival, once[7:8])[0])
        return SessionPlan(main, children, arrival_s)

    def _main(self, latents: Floats, once: Floats, draws: Draws) -> AgentPlan:
        profile = self.profile
        sessions, turns, breaks = profile.sessions, profile.turns, profile.breaks
        count = len(draws.output)
        start = max(2, round(float(self.at(sessions.start_context, cdf(latents[1:2]))[0])))
        tools, system = (
            round(float(self.at(table, once[k : k + 1])[0]))
            for k, table in enumerate((sessions.tool_tokens, sessions.system_tokens))
        )
        tools, system = _fitting(tools, system, start)
        limit = float(self.at(breaks.watermark, once[2:3])[0])
        if start > limit or once[3] < breaks.unlimited_share:
            limit = float(breaks.unlimited_tokens)
        output = np.where(
            np.arange(count) == 0,
            self.at(turns.first_output, draws.output),
            self.at(turns.output, draws.output),
        )
        output = np.maximum(OUTPUT_AT_LEAST, np.rint(output)).astype(np.int64)
        service = np.maximum(0.01, np.round(self.at(turns.service_s, draws.service), 2))
        wait = np.where(
            draws.is_blind,
            self.at(turns.blind_wait_s, draws.wait),
            np.where(
                draws.is_human,
                self.at(turns.human_wait_s, draws.wait),
                self.at(turns.tool_wait_s, draws.wait),
            ),
        )
        path = _Path(self, draws, limit=limit, prefix=tools + system)
        path.walk(start, self._growth(draws), wait)
        return _timed(draws, path, output, service, tools, system)

    def _growth(self, draws: Draws) -> Floats:
        turns = self.profile.turns
        p = draws.growth
        late = np.where(draws.is_human, self.at(turns.growth_human, p), self.at(turns.growth_tool, p))
        index = np.arange(len(p))
        early = np.where(index == 1, self.at(turns.growth_second, p), self.at(turns.growth_early, p))
        return np.where(index <= EARLY_LAST, early, late)

    def _children(
        self, latents: Floats, chance: float, main: AgentPlan, generator: np.random.Generator
    ) -> tuple[ChildPlan, ...]:
        spec = self.profile.subagents
        if spec is None:
            return ()
        has = cdf(_linked(ppf(np.array([chance])), latents[:1], spec.requests_link))[0]
        if has <= 1.0 - spec.session_share:
            return ()
        count = min(CHILDREN_MAX, max(1, round(float(self.at(spec.count, generator.random(1))[0]))))
        children: list[ChildPlan] = []
        after = 0
        for _ in range(count):
            if not children or generator.random() >= spec.together_share:
                after = int(generator.integers(0, len(main.input)))
            children.append(self._child(main, after, generator))
        return tuple(sorted(children, key=lambda child: (child.after, child.start_s)))

    def _child(self, main: AgentPlan, after: int, generator: np.random.Generator) -> ChildPlan:
        spec = self.profile.subagents
        assert spec is not None
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


EARLY_LAST = 5
"""The last request whose growth is that of a session's beginning; the first request is 0."""


class _Path:
    """An orchestrator's inputs: growth up to a watermark, compactions, rewrites, small pull-backs."""

    def __init__(self, sampler: Sampler, draws: Draws, *, limit: float, prefix: int) -> None:
        self._sampler = sampler
        self._breaks = sampler.profile.breaks
        self._u = draws.breaks
        self._limit = limit
        self._prefix = prefix
        count = len(draws.output)
        self.input = np.zeros(count, dtype=np.int64)
        self.kept = np.zeros(count, dtype=np.int64)
        self.wait = np.zeros(count)
        self.is_compaction = np.zeros(count, dtype=np.bool_)

    def walk(self, start: int, growth: Floats, wait: Floats) -> None:
        """Lay out all inputs."""
        breaks = self._breaks
        shares = np.array(breaks.rewrite_share)[np.searchsorted(breaks.rewrite_wait_s, wait, "right")]
        self.wait[:] = wait
        self.input[0] = start
        grown = np.maximum(GROWN_AT_LEAST, np.rint(growth)).astype(np.int64).tolist()
        chances, tails = self._u[0].tolist(), self._u[1].tolist()
        compacted = False
        for k in range(1, len(self.input)):
            before = int(self.input[k - 1])
            share = breaks.rewrite_share_compacted if compacted else float(shares[k])
            share = breaks.rewrite_share_second if k == 1 else share
            compacted = before + grown[k] > self._limit
            if compacted:
                self._compact(k, before)
            elif chances[k] < share:
                self._rewrite(k, before)
            else:
                self.input[k] = before + grown[k]
                self.kept[k] = before
                if tails[k] < breaks.tail_share:
                    cut = self._value(breaks.tail_tokens, tails[k] / breaks.tail_share)
                    self.kept[k] = max(0, before - round(cut))

    def _value(self, table: Table, p: float) -> float:
        return float(self._sampler.at(table, np.array([p]))[0])

    def _compact(self, k: int, before: int) -> None:
        after = round(self._value(self._breaks.compacted_input, float(self._u[2, k])))
        self.input[k] = min(max(2, after), before)
        kept = self._value(self._breaks.compacted_kept, float(self._u[3, k]))
        self.kept[k] = min(round(kept), int(self.input[k]) - 1, before)
        self.wait[k] = self._value(self._breaks.compaction_wait_s, float(self._u[0, k]))
        self.is_compaction[k] = True

    def _rewrite(self, k: int, before: int) -> None:
        grown = self._value(self._breaks.rewrite_growth, float(self._u[2, k]))
        self.input[k] = min(max(2, before + round(grown)), self._limit)
        kept = self._value(self._breaks.rewrite_kept, float(self._u[3, k]))
        self.kept[k] = min(round(kept), int(self.input[k]) - 1, before)


def _timed(
    draws: Draws, path: _Path, output: Ints, service: Floats, tools: int, system: int
) -> AgentPlan:
    """Return the plan with its clock, in whole seconds as recordings have them."""
    is_blind = draws.is_blind & ~path.is_compaction
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
        is_human=draws.is_human | path.is_compaction,
        tool_tokens=tools,
        system_tokens=system,
    )


def _root_of(correlation: Floats) -> Floats:
    """Return a lower root of the nearest matrix that is one: eigenvalues cut at 0, unit diagonal."""
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2.0)
    nearest = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    scale = np.sqrt(np.diag(nearest))
    root: Floats = np.linalg.cholesky(nearest / np.outer(scale, scale))
    return root


def _mixed(own: float, turn: Floats, share: float) -> Floats:
    return np.sqrt(share) * own + np.sqrt(1.0 - share) * turn


def _linked(free: Floats, other: Floats, link: float) -> Floats:
    return link * other + np.sqrt(1.0 - link * link) * free


def _chained(free: Floats, link: float) -> Floats:
    """Return a first-order chain with unit variance."""
    scale = float(np.sqrt(1.0 - link * link))
    return np.array(list(accumulate(free.tolist(), lambda before, new: link * before + scale * new)))


def _fitting(tools: int, system: int, start: int) -> tuple[int, int]:
    """Return the prefix's parts, cut down where the first input is not longer than they are."""
    room = int(start * PREFIX_SHARE_MAX)
    if tools + system <= room:
        return tools, system
    tools = min(tools, room * tools // (tools + system))
    return tools, room - tools
