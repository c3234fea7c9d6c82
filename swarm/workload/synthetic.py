"""A coding agent from stated distributions: an orchestrator, its sub-agents, their compactions.

A turn is: think (a tool's run, or a person's wait), append what came of it, ask the model. When the context
would pass the high watermark, the agent first sends all of it and asks for a summary, and goes on with the
shared prefix and that summary. Now and then an orchestrator delegates: to short-lived sub-agents, whose
context is dropped when they end, or to a long-lived one, which is asked again with all that it has seen.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from swarm.config.workload import LognormalConfig, SubagentConfig, SyntheticConfig
from swarm.context.tree import Prompt
from swarm.streams import stream
from swarm.workload.agent import Context, SharedNodes
from swarm.workload.effects import Agent, Effect, Ended, Infer, Join, Spawn, Think, ThinkKind
from swarm.workload.think import human_waits, lengths, lognormal, one_length

INSTRUCTION_TOKENS = 200
"""The request for a summary that a compaction appends."""
TURNS_MAX = 2_000
"""Longest life of an agent in turns; a bound on what is drawn ahead."""


class Turns:
    """What chance decided of an agent's turns, a column each: many of them may never be reached."""

    __slots__ = ("appended", "by_person", "output", "summary", "think_s")

    def __init__(
        self,
        *,
        think_s: list[float],
        by_person: list[bool],
        appended: list[int],
        output: list[int],
        summary: list[int],
    ) -> None:
        self.think_s = think_s
        self.by_person = by_person
        """Whether the turn follows a person's wait, else a tool's run."""
        self.appended = appended
        self.output = output
        self.summary = summary

    def __len__(self) -> int:
        return len(self.think_s)


class Delegation(NamedTuple):
    """What an orchestrator hands over after one of its turns."""

    turn: int
    fan_out: int
    overlaps: bool
    long_lived: int | None
    report_tokens: int


def session_agent(config: SyntheticConfig, *, shared: SharedNodes, seed: int, session: str) -> Agent:
    """Return the orchestrator of a session."""
    program = partial(orchestrator, config, shared, seed, session)
    return Agent(session, session, None, "orchestrator", program)


def orchestrator(
    config: SyntheticConfig, shared: SharedNodes, seed: int, session: str
) -> Generator[Effect, Any, None]:
    """Work through a session's turns, delegating now and then, and end with all sub-agents joined."""
    generator = stream(seed, "plan", session)
    turns = _draw_turns(config, config.turns, generator, with_people=True)
    delegations = _draw_delegations(config.subagents, generator, len(turns))
    context = Context(session, shared.prefix("orchestrator", config.tool_tokens, config.system_tokens))
    prefix = context.tip
    first = _first_turn(config, generator, len(turns), context, turns)
    running: list[str] = []
    experts: dict[int, Expert] = {}
    children_count = 0
    for index in range(first, len(turns)):
        yield from _take_turn(config, context, prefix, turns, index, is_first=index == first)
        delegation = delegations.get(index)
        if delegation is None:
            continue
        if delegation.long_lived is not None:
            expert = experts.setdefault(delegation.long_lived, Expert())
            yield from expert.settle(running)
            agents = [_expert_agent(config, shared, seed, session, children_count, expert.context)]
            expert.path = agents[0].path
        else:
            agents = [
                _subagent(config, shared, seed, session, children_count + k)
                for k in range(delegation.fan_out)
            ]
        children_count += len(agents)
        for agent in agents:
            running.append((yield Spawn(agent)))
        if not delegation.overlaps:
            yield from _join(running, experts, tuple(agent.path for agent in agents))
            context.append(delegation.report_tokens * len(agents))
    yield from _join(running, experts, tuple(running))


class Expert:
    """A long-lived sub-agent between its tasks: where it runs, or the context it is asked again with."""

    __slots__ = ("context", "path")

    def __init__(self) -> None:
        self.path: str | None = None
        self.context: Prompt | None = None

    def settle(self, running: list[str]) -> Generator[Effect, Any, None]:
        """Wait for the task it is at, if any, so that it can be asked again."""
        if self.path is not None and self.path in running:
            yield from _join(running, {0: self}, (self.path,))

    def learn(self, ended: Ended) -> None:
        """Keep the context that a task ended with."""
        if ended.path == self.path and isinstance(ended.returned, Prompt):
            self.context = ended.returned


def _join(
    running: list[str], experts: dict[int, Expert], paths: tuple[str, ...]
) -> Generator[Effect, Any, None]:
    if not paths:
        return
    outcomes = yield Join(paths)
    for ended in outcomes:
        running.remove(ended.path)
        for expert in experts.values():
            expert.learn(ended)


def _expert_agent(
    config: SyntheticConfig,
    shared: SharedNodes,
    seed: int,
    session: str,
    ordinal: int,
    base: Prompt | None,
) -> Agent:
    path = f"{session}/{ordinal}"
    make = partial(subagent, config, shared, seed, path, "expert", base)
    return Agent(path, session, session, "expert", make)


def _subagent(config: SyntheticConfig, shared: SharedNodes, seed: int, session: str, ordinal: int) -> Agent:
    path = f"{session}/{ordinal}"
    make = partial(subagent, config, shared, seed, path, "subagent", None)
    return Agent(path, session, session, "subagent", make)


def subagent(
    config: SyntheticConfig, shared: SharedNodes, seed: int, path: str, role: str, base: Prompt | None
) -> Generator[Effect, Any, Prompt]:
    """Take a brief and work on it with tools; return the context, with which an expert is asked again."""
    generator = stream(seed, "plan", path)
    turns = _draw_turns(config, config.subagents.turns, generator, with_people=False)
    brief = one_length(config.subagents.brief_tokens, generator)
    prefix = shared.prefix(role, config.tool_tokens, config.system_tokens)
    context = Context(path, prefix if base is None else base)
    context.append(brief)
    for index in range(len(turns)):
        yield from _take_turn(config, context, prefix, turns, index, is_first=index == 0)
    return context.tip


def _take_turn(
    config: SyntheticConfig, context: Context, prefix: Prompt, turns: Turns, index: int, *, is_first: bool
) -> Generator[Effect, Any, None]:
    opened_by: ThinkKind = "start"
    if not is_first:
        opened_by = "human" if turns.by_person[index] else "tool"
        yield Think(turns.think_s[index], opened_by)
        context.append(turns.appended[index])
    output = turns.output[index]
    rewritten = 0
    if context.length + output > config.high_watermark:
        rewritten = yield from _compact(
            config, context, prefix, turns.appended[index], turns.summary[index], opened_by
        )
    echo = config.replies == "actual"
    inferred = yield Infer(context.tip, output, echo, "work", opened_by, rewritten_tokens=rewritten)
    context.append_reply(inferred, output)


def _compact(
    config: SyntheticConfig,
    context: Context,
    prefix: Prompt,
    appended: int,
    summary: int,
    opened_by: ThinkKind,
) -> Generator[Effect, Any, int]:
    """Send the whole context for a summary and start a new cycle; return the tokens it rewrote."""
    asked = context.tip.extend(INSTRUCTION_TOKENS)
    actual = config.replies == "actual"
    inferred = yield Infer(asked, summary, False, "compact", opened_by, keep_reply=actual)
    rewritten = context.length - prefix.length
    context.branch_at(prefix)
    context.append_reply(inferred, summary)
    context.append(min(appended, config.high_watermark // 8))
    return rewritten


def _draw_turns(
    config: SyntheticConfig, turns: LognormalConfig, generator: np.random.Generator, *, with_people: bool
) -> Turns:
    count = min(TURNS_MAX, one_length(turns, generator))
    by_person = generator.random(count) < (1.0 / config.turns_per_request if with_people else 0.0)
    tool_s = lognormal(config.tool_think_s, generator, count)
    human_s = human_waits(config.human_wait, generator, count)
    think_s = np.where(by_person, human_s, tool_s)
    if config.idle_cap_s is not None:
        think_s = np.minimum(think_s, config.idle_cap_s)
    quantities = (config.tool_result, config.human_message, config.output, config.summary)
    results, messages, outputs, summaries = lengths(quantities, generator, count)
    return Turns(
        think_s=think_s.tolist(),
        by_person=by_person.tolist(),
        appended=np.where(by_person, messages, results).tolist(),
        output=outputs.tolist(),
        summary=summaries.tolist(),
    )


def _draw_delegations(
    config: SubagentConfig, generator: np.random.Generator, turns_count: int
) -> dict[int, Delegation]:
    happens = generator.random(turns_count) < config.chance_per_turn
    overlaps = generator.random(turns_count) < config.overlap_share
    is_long = generator.random(turns_count) < (config.long_lived_share if config.long_lived else 0.0)
    fan_out = generator.integers(1, config.fan_out_max + 1, turns_count)
    expert = generator.integers(0, max(1, config.long_lived), turns_count)
    reports = lengths((config.brief_tokens,), generator, turns_count)[0]
    return {
        k: Delegation(
            turn=k,
            fan_out=int(fan_out[k]),
            overlaps=bool(overlaps[k]),
            long_lived=int(expert[k]) if is_long[k] else None,
            report_tokens=int(reports[k]),
        )
        for k in np.flatnonzero(happens).tolist()
    }


def _first_turn(
    config: SyntheticConfig,
    generator: np.random.Generator,
    turns_count: int,
    context: Context,
    turns: Turns,
) -> int:
    """Lay out the context before the first turn sent; return that turn's index.

    A warm start enters the session at a uniformly drawn turn, with the context that the turns before it
    would have left.
    """
    first_context = one_length(config.first_context, generator)
    entered = float(generator.random())
    prefix_tokens = context.length
    context.append(min(first_context, config.high_watermark // 2))
    if not config.warm_start:
        return 0
    index = int(entered * turns_count)
    length = context.length
    for turn in range(index):
        length += turns.appended[turn] + turns.output[turn]
        if length > config.high_watermark:
            length = prefix_tokens + turns.summary[turn]
    context.append(max(0, length - context.length))
    return index
