"""Sessions of the synthetic agent, run by hand: every effect in order, no clock."""

import itertools
import statistics
from collections.abc import Iterator

import numpy as np
import pytest

from swarm.config.workload import LognormalConfig, SubagentConfig, SyntheticConfig
from swarm.context.tree import Prompt
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent, Ended, Infer, Inferred, Join, Spawn, Think
from swarm.workload.synthetic import Setting, session_agent
from swarm.workload.think import one_length

Step = tuple[str, Think | Infer | Spawn | Join]


def steps_of(agent: Agent, returned: dict[str, object]) -> Iterator[Step]:
    program = agent.make()
    result: object = None
    while True:
        try:
            effect = program.send(result)
        except StopIteration as end:
            returned[agent.path] = end.value
            return
        yield agent.path, effect
        match effect:
            case Think():
                result = None
            case Infer():
                reply = "abcd" * effect.output_tokens if effect.echo or effect.keep_reply else None
                result = Inferred(True, effect.output_tokens, 0.0, reply)
            case Spawn(child):
                yield from steps_of(child, returned)
                result = child.path
            case Join(paths):
                result = tuple(Ended(path, True, 0.0, returned[path]) for path in paths)


def steps(config: SyntheticConfig, sessions: int = 1, seed: int = 1) -> list[Step]:
    return [
        step
        for k in range(sessions)
        for step in steps_of(session_agent(Setting(config, seed, SharedNodes()), f"s{k}"), {})
    ]


def infers(rows: list[Step]) -> list[tuple[str, Infer]]:
    return [(path, effect) for path, effect in rows if isinstance(effect, Infer)]


def plan(rows: list[Step]) -> list[tuple[str, str, int, int, float]]:
    return [
        (path, effect.prompt.node.name, effect.prompt.length, effect.output_tokens, 0.0)
        if isinstance(effect, Infer)
        else (path, type(effect).__name__, 0, 0, effect.seconds if isinstance(effect, Think) else 0.0)
        for path, effect in rows
    ]


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    config = SyntheticConfig()
    assert plan(steps(config)) == plan(steps(config))
    assert plan(steps(config)) != plan(steps(config, seed=2))


def test_tool_turns_have_the_stated_median_think() -> None:
    tool_s = [
        effect.seconds
        for _, effect in steps(SyntheticConfig(), sessions=40)
        if isinstance(effect, Think) and effect.kind == "tool"
    ]
    assert statistics.median(tool_s) == pytest.approx(11.0, rel=0.05)


def test_human_waits_have_a_heavy_tail_that_idle_cap_cuts() -> None:
    def longest_s(config: SyntheticConfig) -> float:
        return max(e.seconds for _, e in steps(config, sessions=40) if isinstance(e, Think))

    assert longest_s(SyntheticConfig()) > 3600.0
    assert longest_s(SyntheticConfig(idle_cap_s=30.0)) == 30.0


def test_a_context_only_grows_until_it_is_compacted_to_the_shared_prefix() -> None:
    config = SyntheticConfig(high_watermark=60_000, subagents=SubagentConfig(chance_per_turn=0.0))
    cycles = 0
    previous: Prompt | None = None
    for _, infer in infers(steps(config)):
        prompt = infer.prompt
        if previous is not None and prompt.node is not previous.node:
            cycles += 1
            shared = [stretch.node.name for stretch in prompt.path()[:-1]]
            assert all(name.startswith(("tools/", "system/")) for name in shared)
        elif previous is not None:
            assert prompt.length >= previous.length
        previous = prompt
    assert cycles > 1


def test_no_work_turn_passes_the_high_watermark() -> None:
    config = SyntheticConfig(high_watermark=80_000)
    work = [i for _, i in infers(steps(config, sessions=20)) if i.kind == "work"]
    assert max(i.prompt.length + i.output_tokens for i in work) <= 80_000


def test_a_compaction_sends_the_whole_context() -> None:
    rows = infers(steps(SyntheticConfig(high_watermark=60_000), sessions=5))
    compactions = [
        (before.prompt, compact.prompt)
        for (path, before), (same, compact) in itertools.pairwise(rows)
        if compact.kind == "compact" and same == path and before.kind == "work"
    ]
    assert len(compactions) > 5
    for before, compact in compactions:
        assert compact.node is before.node
        assert compact.length > before.length


def test_experts_are_asked_again_with_the_context_they_ended_with() -> None:
    config = SyntheticConfig(subagents=SubagentConfig(chance_per_turn=0.5, long_lived_share=1.0))
    rows = infers(steps(config))
    first: dict[str, Prompt] = {}
    last: dict[str, Prompt] = {}
    for path, infer in rows:
        first.setdefault(path, infer.prompt)
        last[path] = infer.prompt
    experts = [path for path in first if "/" in path]
    assert len(experts) > 2
    for earlier, later in itertools.pairwise(experts):
        assert first[later].length > last[earlier].length
        assert last[earlier].node in [stretch.node for stretch in first[later].path()]


def test_every_spawned_agent_is_joined_once() -> None:
    rows = steps(SyntheticConfig(subagents=SubagentConfig(chance_per_turn=0.3)), sessions=5)
    spawned = sorted(e.agent.path for _, e in rows if isinstance(e, Spawn))
    joined = sorted(path for _, e in rows if isinstance(e, Join) for path in e.paths)
    assert spawned == joined
    assert spawned


def test_a_warm_start_enters_sessions_in_their_midst() -> None:
    cold = [steps(SyntheticConfig(), seed=s)[0][1] for s in range(20)]
    warm = [steps(SyntheticConfig(warm_start=True), seed=s)[0][1] for s in range(20)]

    def mean(effects: list[Think | Infer | Spawn | Join]) -> float:
        return statistics.mean(e.prompt.length for e in effects if isinstance(e, Infer))

    assert mean(warm) > 1.5 * mean(cold)


def test_a_spread_beyond_all_numbers_ends_at_the_bounds() -> None:
    wide = LognormalConfig(median=1.0, sigma=1e4, least=3, most=7)
    drawn = {one_length(wide, np.random.default_rng(k)) for k in range(20)}
    assert drawn == {3, 7}
