"""Recorded sessions, played again as programs."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from swarm.config.workload import ReplayConfig
from swarm.context.tree import Node, Prompt
from swarm.streams import stream
from swarm.workload.agent import SharedNodes, append_reply
from swarm.workload.effects import Agent, Effect, Infer, Join, Spawn, Think, ThinkKind
from swarm.workload.midway import running_at, turn_at
from swarm.workload.script import NodeScript, SessionScript, SpawnScript, TurnScript


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How a session is played: the part of the configuration that its programs need."""

    timing: str
    api_scale: float
    time_scale: float
    idle_cap_s: float | None
    shared_prefix: bool
    echo: bool
    requests_max: int | None
    primers: int
    starts_as_recorded: bool
    """Sub-agents start as long after their parent's request was due as recorded."""
    enters_subagents: bool
    """Sub-agents that run when a session is entered are entered too."""


def plan_of(config: ReplayConfig) -> ReplayPlan:
    """Return the programs' part of the configuration."""
    return ReplayPlan(
        timing=config.timing,
        api_scale=config.api_scale,
        time_scale=config.time_scale,
        idle_cap_s=config.idle_cap_s,
        shared_prefix=config.shared_prefix,
        echo=config.replies == "actual",
        requests_max=config.requests_max,
        primers=config.primers,
        starts_as_recorded=config.subagent_start == "recorded",
        enters_subagents=config.running_subagents,
    )


def session_agent(
    config: ReplayConfig, script: SessionScript, *, shared: SharedNodes, seed: int, session: str
) -> Agent:
    """Return the orchestrator that plays `script` under the name `session`."""
    first = 0
    turns = script.agents[0].turns[: config.requests_max]
    if config.start == "random" and turns:
        chance = stream(seed, "replay-start", session)
        low, high = config.start_between
        if config.start_by == "time":
            first = turn_at(script, low + (high - low) * float(chance.random()), len(turns))
        else:
            start = min(int(low * len(turns)), len(turns) - 1)
            first = int(chance.integers(start, max(start + 1, math.ceil(high * len(turns)))))
    delay_s = 0.0
    if config.start == "staggered":
        delay_s = float(stream(seed, "replay-start", session).random()) * config.stagger_s
    make = partial(play_session, plan_of(config), shared, script, session, first, delay_s)
    return Agent(session, session, None, script.agents[0].role, make)


def play_session(
    plan: ReplayPlan, shared: SharedNodes, script: SessionScript, session: str, first: int, delay_s: float
) -> Generator[Effect, Any, None]:
    """Play the orchestrator's turns from `first` on, the first one after `delay_s`."""
    tree = ReplayTree(script, shared, session, plan.shared_prefix)
    if delay_s:
        yield Think(delay_s, "start")
    yield from play(plan, script, tree, session, 0, first, None)


class ReplayTree:
    """The session's nodes as objects, made when first asked for."""

    __slots__ = ("_names", "_nodes", "_shared", "_shares_prefix", "script")

    def __init__(self, script: SessionScript, shared: SharedNodes, session: str, shares_prefix: bool) -> None:
        self.script = script
        self._shared = shared
        self._names = script.scope or session
        self._nodes: list[Node | None] = [None] * len(script.nodes)
        self._shares_prefix = shares_prefix and script.scope is None

    def prompt(self, turn: TurnScript) -> Prompt:
        """Return the place that a turn sends."""
        return Prompt(self._node(turn.node), turn.length)

    def _node(self, index: int) -> Node:
        node = self._nodes[index]
        if node is None:
            node = self._make(index)
            self._nodes[index] = node
        return node

    def _make(self, index: int) -> Node:
        spec = self.script.nodes[index]
        name = f"{self._names}#{index}"
        if self.script.scope is not None:
            return self._shared.one(self._branch(name, spec))
        return self._branch(name, spec)

    def _branch(self, name: str, spec: NodeScript) -> Node:
        if spec.parent >= 0:
            return Prompt(self._node(spec.parent), spec.start).branch(name).node
        if self._shares_prefix and spec.tool_tokens + spec.system_tokens:
            prefix = self._shared.prefix("recorded", spec.tool_tokens, spec.system_tokens)
            return prefix.branch(name).node
        return Node(name)


def play(
    plan: ReplayPlan,
    script: SessionScript,
    tree: ReplayTree,
    path: str,
    agent: int,
    first: int,
    wait_s: float | None,
) -> Generator[Effect, Any, None]:
    """Play one agent of a session: think as recorded, send what it sent, start its sub-agents.

    `wait_s` is the think before its turn `first` where that is not the recorded one.
    """
    recorded = script.agents[agent]
    turns = recorded.turns[: plan.requests_max]
    awaited: dict[int | None, list[str]] = {}
    if first == 0:
        yield from _spawn(plan, script, tree, path, recorded.early_spawns, 0.0, awaited)
    primers = range(max(0, first - plan.primers), first)
    if plan.enters_subagents and agent == 0 and 0 < first < len(turns):
        lead_s = _think(plan, turns[first], first).seconds if primers else 0.0
        yield from _enter(plan, script, tree, path, first, lead_s, awaited)
    for index in primers:
        yield Infer(tree.prompt(turns[index]), 1, False, "primer", turns[index].opened_by)
    for index in range(first, len(turns)):
        turn = turns[index]
        if index in awaited:
            yield Join(tuple(awaited.pop(index)))
        if index == first and wait_s is not None:
            yield Think(wait_s, "tool")
        elif index > first or primers or agent > 0 or (first == 0 and recorded.early_spawns):
            yield _think(plan, turn, index)
        offset = _busy_s(turns[index + 1]) if index + 1 < len(turns) else 0.0
        if plan.starts_as_recorded:
            yield from _spawn(plan, script, tree, path, turn.spawns, offset, awaited)
        prompt = tree.prompt(turn)
        echo = plan.echo and turn.continues
        inferred = yield Infer(
            prompt, turn.output, echo, "work", turn.opened_by, rewritten_tokens=turn.rewritten
        )
        if echo:
            append_reply(prompt, inferred, turn.output)
        if not plan.starts_as_recorded:
            yield from _spawn(plan, script, tree, path, turn.spawns, offset, awaited)
    rest = tuple(started for waiting in awaited.values() for started in waiting)
    if rest:
        yield Join(rest)


def _enter(
    plan: ReplayPlan,
    script: SessionScript,
    tree: ReplayTree,
    path: str,
    first: int,
    lead_s: float,
    awaited: dict[int | None, list[str]],
) -> Generator[Effect, Any, None]:
    """Start the sub-agents that run at turn `first`, which comes `lead_s` after the primers.

    `awaited` takes them by the turn that waits for them.
    """
    for running in running_at(script, first):
        spawn = running.spawn
        child = f"{path}/{spawn.agent - 1}"
        wait_s = lead_s + _scaled(plan, running.after_s)
        make = partial(play, plan, script, tree, child, spawn.agent, running.first, wait_s)
        started = yield Spawn(Agent(child, path, path, script.agents[spawn.agent].role, make))
        is_waited_for = spawn.join_at is not None and spawn.join_at >= first
        awaited.setdefault(spawn.join_at if is_waited_for else None, []).append(started)


def _spawn(
    plan: ReplayPlan,
    script: SessionScript,
    tree: ReplayTree,
    path: str,
    spawns: tuple[SpawnScript, ...],
    busy_s: float,
    awaited: dict[int | None, list[str]],
) -> Generator[Effect, Any, None]:
    """Start sub-agents inside the think that follows; `busy_s` of their recorded offset was the model's.

    Those that start as recorded are asked for when their parent's request is due, and take none of its time.
    `awaited` takes them by the turn that waits for them.
    """
    for spawn in spawns:
        after_s = 0.0
        if plan.starts_as_recorded:
            after_s = _scaled(plan, spawn.after_s)
        elif plan.timing == "think-only":
            yield Think(_scaled(plan, max(0.0, spawn.after_s - busy_s)), since="completed")
        else:
            yield Think(_scaled(plan, spawn.after_s), since="intended")
        child = f"{path}/{spawn.agent - 1}"
        make = partial(play, plan, script, tree, child, spawn.agent, 0, None)
        started = yield Spawn(Agent(child, path, path, script.agents[spawn.agent].role, make), after_s)
        awaited.setdefault(spawn.join_at, []).append(started)


def _think(plan: ReplayPlan, turn: TurnScript, index: int) -> Think:
    kind: ThinkKind = "human" if turn.opened_by == "human" else "tool"
    if index == 0:
        return Think(_scaled(plan, turn.gap_s), "tool", since="intended")
    if plan.timing == "think-only" and turn.think_s is not None:
        return Think(_scaled(plan, turn.think_s), kind, since="completed")
    if plan.timing == "api-scaled" and turn.think_s is not None and turn.api_s is not None:
        after = turn.api_s * plan.api_scale + _scaled(plan, turn.think_s)
        return Think(after, kind, since="intended")
    return Think(_scaled(plan, turn.gap_s), kind, since="intended")


def _busy_s(following: TurnScript) -> float:
    """Return how long after a turn's start its recorded think began."""
    if following.think_s is None:
        return following.api_s or 0.0
    return max(0.0, following.gap_s - following.think_s)


def _scaled(plan: ReplayPlan, seconds: float) -> float:
    scaled = max(0.0, seconds) * plan.time_scale
    return scaled if plan.idle_cap_s is None else min(scaled, plan.idle_cap_s)
