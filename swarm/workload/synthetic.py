"""A coding agent from stated distributions: an orchestrator, its sub-agents, their compactions.

A turn is: think (a tool's run, or a person's wait), append what came of it, ask the model. When the context
would pass the high watermark, the agent first sends all of it and asks for a summary, and goes on with the
shared prefix and that summary. Now and then an orchestrator delegates: to short-lived sub-agents, whose
context is dropped when they end, or to a long-lived one, which is asked again with all that it has seen.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from swarm.config.workload import LognormalConfig, SubagentConfig, SyntheticConfig
from swarm.context.tree import Prompt
from swarm.streams import stream
from swarm.workload.agent import Context, SharedNodes
from swarm.workload.effects import Agent, Effect, Ended, Infer, Join, Spawn, Think, ThinkKind
from swarm.workload.think import Floats, Laws, one_length, values_of, whole

INSTRUCTION_TOKENS = 200
"""The request for a summary that a compaction appends."""
TURNS_MAX = 2_000
"""Longest life of an agent in turns; a bound on what is drawn ahead."""
UNPACK_TURN: Final = struct.Struct("6d").unpack_from
TURN_BYTES: Final = 48

TurnValues: TypeAlias = tuple[float, float, float, float, float, float]
"""Of one turn, as `Turns` lists them."""


class Setting:
    """What all agents of a source have in common, and what follows from it once for all of them."""

    __slots__ = ("config", "echoes", "high_watermark", "laws", "seed", "shared")

    def __init__(self, config: SyntheticConfig, seed: int, shared: SharedNodes) -> None:
        self.config = config
        self.seed = seed
        self.shared = shared
        self.high_watermark = config.high_watermark
        self.echoes = config.replies == "actual"
        """Whether contexts go on from real replies."""
        self.laws = Laws(
            (
                config.tool_think_s,
                config.human_wait.body,
                config.tool_result,
                config.human_message,
                config.output,
                config.summary,
            )
        )
        """Of each turn's quantities, in the order of their draws."""

    def __reduce__(self) -> tuple[object, ...]:
        return Setting, (self.config, self.seed, self.shared)


class Turns:
    """What chance decided of an agent's turns, packed: many of them may never be reached.

    Of each turn, as numbers: the think time before it; 1 where that is a person's wait, 0 where a tool's; the
    tokens that came of it; a message's tokens, which only the draws need; the tokens of the reply; those of a
    summary, should the context be compacted.
    """

    __slots__ = ("_packed",)

    def __init__(self, drawn: Floats) -> None:
        self._packed: bytes = drawn.tobytes("F")

    def __len__(self) -> int:
        return len(self._packed) // TURN_BYTES

    def at(self, index: int) -> TurnValues:
        """Return a turn's values."""
        values: TurnValues = UNPACK_TURN(self._packed, index * TURN_BYTES)
        return values


class Delegation(NamedTuple):
    """What an orchestrator hands over after one of its turns."""

    turn: int
    fan_out: int
    overlaps: bool
    long_lived: int | None
    report_tokens: int


class Beginning:
    """What is drawn of a session before it starts.

    Sessions are made many in a row, and drawn so at half of what each costs between other things.
    """

    __slots__ = ("delegations", "first", "opening_tokens", "session", "setting", "turns")

    def __init__(self, setting: Setting, session: str) -> None:
        config = setting.config
        generator = stream(setting.seed, "plan", session)
        self.setting = setting
        self.session = session
        drawn = _draw_turns(setting, config.turns, generator, with_people=True)
        self.turns = Turns(drawn)
        self.delegations = _draw_delegations(config.subagents, generator, len(self.turns))
        self.first = 0
        """The first turn that is sent."""
        self.opening_tokens = min(one_length(config.first_context, generator), config.high_watermark // 2)
        """Of the context before it, behind the shared prefix."""
        entered = float(generator.random())
        if config.warm_start:
            self.first = int(entered * len(self.turns))
            self._enter(drawn)

    def _enter(self, drawn: Floats) -> None:
        """Lay out what the turns before the first would have left."""
        config = self.setting.config
        prefix_tokens = config.tool_tokens + config.system_tokens
        opened, most = prefix_tokens + self.opening_tokens, float(config.high_watermark)
        length = float(opened)
        grown: list[float] = (drawn[2, : self.first] + drawn[4, : self.first]).tolist()
        for turn, tokens in enumerate(grown):
            length += tokens
            if length > most:
                length = prefix_tokens + float(drawn[5, turn])
        self.opening_tokens += max(0, int(length) - opened)

    def __reduce__(self) -> tuple[object, ...]:
        return Beginning, (self.setting, self.session)


def session_agent(setting: Setting, session: str) -> Agent:
    """Return the orchestrator of a session."""
    program = partial(orchestrator, Beginning(setting, session))
    return Agent(session, session, None, "orchestrator", program)


def orchestrator(beginning: Beginning) -> Generator[Effect, Any, None]:
    """Work through a session's turns, delegating now and then, and end with all sub-agents joined.

    A warm start enters the session at a uniformly drawn turn, with the context that the turns before it
    would have left.
    """
    setting, session, delegations = beginning.setting, beginning.session, beginning.delegations
    config = setting.config
    prefix = setting.shared.prefix("orchestrator", config.tool_tokens, config.system_tokens)
    context = Context(session, prefix)
    prefix = context.tip
    context.append(beginning.opening_tokens)
    turns, first = beginning.turns, beginning.first
    running: list[str] = []
    experts: dict[int, Expert] = {}
    children_count = 0
    for index in range(first, len(turns)):
        yield from _take_turn(setting, context, prefix, turns.at(index), is_first=index == first)
        delegation = delegations.get(index)
        if delegation is None:
            continue
        if delegation.long_lived is not None:
            expert = experts.setdefault(delegation.long_lived, Expert())
            yield from expert.settle(running)
            agents = [_expert_agent(setting, session, children_count, expert.context)]
            expert.path = agents[0].path
        else:
            agents = [_subagent(setting, session, children_count + k) for k in range(delegation.fan_out)]
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


def _expert_agent(setting: Setting, session: str, ordinal: int, base: Prompt | None) -> Agent:
    path = f"{session}/{ordinal}"
    return Agent(path, session, session, "expert", partial(subagent, setting, path, "expert", base))


def _subagent(setting: Setting, session: str, ordinal: int) -> Agent:
    path = f"{session}/{ordinal}"
    return Agent(path, session, session, "subagent", partial(subagent, setting, path, "subagent", None))


def subagent(setting: Setting, path: str, role: str, base: Prompt | None) -> Generator[Effect, Any, Prompt]:
    """Take a brief and work on it with tools; return the context, with which an expert is asked again."""
    config = setting.config
    generator = stream(setting.seed, "plan", path)
    turns = Turns(_draw_turns(setting, config.subagents.turns, generator, with_people=False))
    brief = one_length(config.subagents.brief_tokens, generator)
    prefix = setting.shared.prefix(role, config.tool_tokens, config.system_tokens)
    context = Context(path, prefix if base is None else base)
    context.append(brief)
    for index in range(len(turns)):
        yield from _take_turn(setting, context, prefix, turns.at(index), is_first=index == 0)
    return context.tip


def _take_turn(
    setting: Setting, context: Context, prefix: Prompt, turn: TurnValues, *, is_first: bool
) -> Generator[Effect, Any, None]:
    think_s, by_person, appended, _, reply, summary = turn
    opened_by: ThinkKind = "start"
    if not is_first:
        opened_by = "human" if by_person else "tool"
        yield Think(think_s, opened_by)
        context.append(int(appended))
    output = int(reply)
    rewritten = 0
    if context.length + output > setting.high_watermark:
        rewritten = yield from _compact(setting, context, prefix, int(appended), int(summary), opened_by)
    inferred = yield Infer(context.tip, output, setting.echoes, "work", opened_by, rewritten)
    context.append_reply(inferred, output)


def _compact(
    setting: Setting,
    context: Context,
    prefix: Prompt,
    appended: int,
    summary: int,
    opened_by: ThinkKind,
) -> Generator[Effect, Any, int]:
    """Send the whole context for a summary and start a new cycle; return the tokens it rewrote."""
    asked = context.tip.extend(INSTRUCTION_TOKENS)
    inferred = yield Infer(asked, summary, False, "compact", opened_by, keep_reply=setting.echoes)
    rewritten = context.length - prefix.length
    context.branch_at(prefix)
    context.append_reply(inferred, summary)
    context.append(min(appended, setting.high_watermark // 8))
    return rewritten


def _draw_turns(
    setting: Setting, turns: LognormalConfig, generator: np.random.Generator, *, with_people: bool
) -> Floats:
    """Draw an agent's turns, a row for each of the values that `Turns` lists.

    Without people a person's waits are drawn as well, for the draws behind them.
    """
    config = setting.config
    count = min(TURNS_MAX, one_length(turns, generator))
    by_person = generator.random(count) < (1.0 / config.turns_per_request if with_people else 0.0)
    drawn = np.empty((setting.laws.count, count))
    generator.standard_normal(out=drawn[:2])
    pareto = generator.pareto(config.human_wait.tail_alpha, count)
    in_tail = generator.random(count) < config.human_wait.tail_share
    generator.standard_normal(out=drawn[2:])
    setting.laws.values(drawn)
    whole(drawn[2:])
    think_s, human_s, appended = drawn[0], drawn[1], drawn[2]
    if with_people:
        np.copyto(human_s, config.human_wait.tail_from_s * (1.0 + pareto), where=in_tail)
        np.copyto(think_s, human_s, where=by_person)
        np.copyto(appended, drawn[3], where=by_person)
    if config.idle_cap_s is not None:
        np.minimum(think_s, config.idle_cap_s, out=think_s)
    drawn[1] = by_person
    return drawn


def _draw_delegations(
    config: SubagentConfig, generator: np.random.Generator, turns_count: int
) -> dict[int, Delegation]:
    happens, overlaps, is_long = generator.random((3, turns_count))
    fan_out = generator.integers(1, config.fan_out_max + 1, turns_count)
    # Of one expert there is no choice: numpy would draw nothing, and take its time.
    expert = generator.integers(0, config.long_lived, turns_count) if config.long_lived > 1 else None
    reports = generator.standard_normal(turns_count)
    at = np.flatnonzero(happens < config.chance_per_turn)
    if not len(at):
        return {}
    long_share = config.long_lived_share if config.long_lived else 0.0
    columns = (
        at,
        fan_out[at],
        overlaps[at] < config.overlap_share,
        is_long[at] < long_share,
        np.zeros(len(at), np.int64) if expert is None else expert[at],
        whole(values_of(config.brief_tokens, reports[at])).astype(np.int64),
    )
    return {
        turn: Delegation(turn, fan_out, overlaps, expert if is_long else None, report_tokens)
        for turn, fan_out, overlaps, is_long, expert, report_tokens in zip(
            *(column.tolist() for column in columns), strict=True
        )
    }
