"""Recorded sessions as programs, held against the recordings and an independent truth."""

import json
from pathlib import Path

import pytest

from swarm.config.workload import ReplayConfig
from swarm.context.ideal import Ideal
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Infer, Inferred, Join, Program, Spawn, Think
from swarm.workload.formats import read_sessions
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from swarm.workload.replay import ReplayTree, session_agent
from swarm.workload.script import SessionScript, compile_session


def request(t_s: float, ids: list[int], extra: int = 0, **given: object) -> RecordedRequest:
    fields: dict[str, object] = {
        "t_s": t_s,
        "model": "m",
        "streaming": True,
        "input_tokens": len(ids) * 64 + extra,
        "output_tokens": 10,
        "hash_ids": ids,
        "input_types": ("tool_result",),
        "output_types": ("text",),
        "stop": None,
        "api_s": 2.0,
        "think_s": None,
        "ttft_s": None,
    }
    return RecordedRequest(**{**fields, **given})  # type: ignore[arg-type]


def session(*entries: RecordedRequest | RecordedSubagent) -> RecordedSession:
    return RecordedSession("a", "a.json", "a", 64, 64, 64, ("m",), entries)


def subagent(t_s: float, duration_s: float) -> RecordedSubagent:
    requests = (request(0.0, [90, 91]),)
    return RecordedSubagent(t_s, "x", "explore", duration_s, 0, 0, requests)


def effects(program: Program, *, service_s: float = 1.0) -> list[Think | Infer | Spawn | Join]:
    seen: list[Think | Infer | Spawn | Join] = []
    result: object = None
    now_s = 0.0
    while True:
        try:
            effect = program.send(result)
        except StopIteration:
            return seen
        seen.append(effect)
        result = None
        if isinstance(effect, Infer):
            now_s += service_s
            result = Inferred(True, effect.output_tokens, now_s, None)
        elif isinstance(effect, Spawn):
            result = effect.agent.path


def played(config: ReplayConfig, script: SessionScript) -> list[Think | Infer | Spawn | Join]:
    return effects(session_agent(config, script, shared=SharedNodes(), seed=1, session="s0").make())


def config(**changes: object) -> ReplayConfig:
    return ReplayConfig.model_validate({"kind": "replay", "path": ".", **changes})


@pytest.mark.parametrize(
    ("timing", "think"),
    [
        ("think-only", Think(3.0, "tool", "completed")),
        ("original", Think(9.0, "tool", "intended")),
        ("api-scaled", Think(2.0 * 0.5 + 3.0, "tool", "intended")),
    ],
)
def test_timing_says_what_a_turn_waits_for(timing: str, think: Think) -> None:
    script = compile_session(session(request(0.0, [1]), request(9.0, [1, 2], think_s=3.0)), None)
    thinks = [e for e in played(config(timing=timing, api_scale=0.5), script) if isinstance(e, Think)]
    assert thinks == [think]


def test_a_missing_think_time_falls_back_to_the_recorded_difference() -> None:
    script = compile_session(session(request(0.0, [1]), request(9.0, [1, 2])), None)
    thinks = [e for e in played(config(timing="think-only"), script) if isinstance(e, Think)]
    assert thinks == [Think(9.0, "tool", "intended")]


def test_time_scale_and_idle_cap_bound_every_wait() -> None:
    script = compile_session(session(request(0.0, [1]), request(900.0, [1, 2], think_s=800.0)), None)
    thinks = [e for e in played(config(time_scale=0.1, idle_cap_s=30.0), script) if isinstance(e, Think)]
    assert thinks == [Think(30.0, "tool", "completed")]


@pytest.mark.parametrize(("duration_s", "joined"), [(3.0, True), (4.0, True), (4.1, False)])
def test_a_subagent_is_joined_only_if_it_ended_by_the_parents_next_turn(
    duration_s: float, joined: bool
) -> None:
    script = compile_session(
        session(request(0.0, [1]), subagent(5.0, duration_s), request(9.0, [1, 2])), None
    )
    kinds = [type(effect).__name__ for effect in played(config(timing="original"), script)]
    before_next = kinds[: len(kinds) - kinds[::-1].index("Infer")]
    assert ("Join" in before_next) is joined


@pytest.mark.parametrize(("inputs", "joined"), [(("tool_result", "notice"), True), (("tool_result",), False)])
def test_a_subagent_in_the_background_is_joined_by_the_turn_that_its_notice_opened(
    inputs: tuple[str, ...], joined: bool
) -> None:
    told = request(60.0, [1, 2, 3], input_types=inputs)
    script = compile_session(
        session(request(0.0, [1]), subagent(5.0, 50.0), request(9.0, [1, 2]), told), None
    )
    kinds = [type(effect).__name__ for effect in played(config(timing="original"), script)]
    joins = kinds.index("Join")
    assert kinds[:joins].count("Infer") == (2 if joined else 3)


def test_a_spawn_splits_its_parents_think() -> None:
    script = compile_session(
        session(request(0.0, [1]), subagent(5.0, 90.0), request(9.0, [1, 2], think_s=7.0)), None
    )
    kinds = played(config(), script)
    assert [effect for effect in kinds if isinstance(effect, Think)] == [
        Think(3.0, since="completed"),
        Think(7.0, "tool", "completed"),
    ]


def test_an_actual_reply_is_echoed_only_where_the_recording_went_on_from_it() -> None:
    goes_on = request(9.0, [1, 2], extra=20)
    pulls_back = request(20.0, [1, 3])
    script = compile_session(session(request(0.0, [1]), goes_on, pulls_back), None)
    echoes = [e.echo for e in played(config(replies="actual"), script) if isinstance(e, Infer)]
    assert echoes == [True, False, False]


def test_sessions_share_their_recorded_system_prefix_when_asked() -> None:
    script = compile_session(session(request(0.0, [1, 2, 3])), None)
    with_prefix = next(e for e in played(config(), script) if isinstance(e, Infer)).prompt.path()
    without = next(e for e in played(config(shared_prefix=False), script) if isinstance(e, Infer))
    assert [(s.start, s.end) for s in with_prefix] == [(0, 64), (64, 128), (128, 192)]
    assert [(s.start, s.end) for s in without.prompt.path()] == [(0, 192)]


def test_the_tree_of_real_traces_has_the_ideal_hit_rate_of_their_blocks(shared_data: Path) -> None:
    truth = json.loads((shared_data / "agent-traces-truth.json").read_text())
    unlimited = next(row["hit_rate"] for row in truth["ttl"] if row["ttl_s"] is None)
    hit_tokens = input_tokens = 0
    for recorded in read_sessions(shared_data / "agent-traces", "weka"):
        script = compile_session(recorded, None)
        tree = ReplayTree(script, SharedNodes(), recorded.id, shares_prefix=False)
        ideal = Ideal(block_tokens=recorded.block_tokens)
        for turn in _in_recorded_order(recorded, script, tree):
            hit_tokens += ideal.send(*turn)
            input_tokens += turn.length
    assert hit_tokens / input_tokens == pytest.approx(unlimited, abs=1e-6)


def _in_recorded_order(recorded, script, tree):  # type: ignore[no-untyped-def]
    starts = [0.0] + [e.t_s for e in recorded.entries if isinstance(e, RecordedSubagent)]
    agents = [[e for e in recorded.entries if isinstance(e, RecordedRequest)]]
    agents += [list(e.requests) for e in recorded.entries if isinstance(e, RecordedSubagent)]
    rows = []
    for start_s, requests, played_agent in zip(starts, agents, script.agents, strict=True):
        in_order = sorted(requests, key=lambda r: r.t_s)
        rows += [(start_s + r.t_s, tree.prompt(t)) for r, t in zip(in_order, played_agent.turns, strict=True)]
    return [prompt for _, prompt in sorted(rows, key=lambda row: row[0])]


def test_a_think_time_longer_than_the_gap_falls_back_to_the_recorded_difference() -> None:
    script = compile_session(session(request(0.0, [1]), request(9.0, [1, 2], think_s=40.0)), None)
    thinks = [e for e in played(config(timing="think-only"), script) if isinstance(e, Think)]
    assert thinks == [Think(9.0, "tool", "intended")]


@pytest.mark.parametrize(
    ("recorded_s", "api_s", "think"),
    [
        (47.0, 2.0, Think(47.0, "tool", "completed")),  # from the request's own end
        (9.0, 2.0, Think(48.0, "tool", "completed")),  # from the sub-agent's, 41 s in
        (9.4, None, Think(50.0, "tool", "intended")),  # the same, and its own end is not known
        (20.0, 2.0, Think(20.0, "tool", "completed")),  # from neither: as recorded
    ],
)
def test_a_think_time_from_a_subagents_end_counts_from_the_requests(
    recorded_s: float, api_s: float | None, think: Think
) -> None:
    script = compile_session(
        session(
            request(0.0, [1], api_s=api_s), subagent(5.0, 36.0), request(50.0, [1, 2], think_s=recorded_s)
        ),
        None,
    )
    assert len(script.agents[0].turns[0].spawns) == 1
    thinks = [e for e in played(config(timing="think-only"), script) if isinstance(e, Think)]
    assert thinks[-1] == think


@pytest.mark.parametrize(("start", "least", "most"), [("beginning", 0, 0), ("staggered", 1, 60)])
def test_staggered_sessions_wait_at_their_start(start: str, least: int, most: int) -> None:
    script = compile_session(session(request(0.0, [1])), None)
    waits = []
    for k in range(20):
        agent = session_agent(
            config(start=start, stagger_s=60.0), script, shared=SharedNodes(), seed=1, session=f"s{k}"
        )
        waits.append(sum(e.seconds for e in effects(agent.make()) if isinstance(e, Think)))
    assert least <= max(waits) <= most
    assert len(set(waits)) == (20 if start == "staggered" else 1)


@pytest.mark.parametrize("start_s", [0.0, 3600.0, 1.76e9])
def test_a_session_on_another_clock_is_compiled_alike(start_s: float) -> None:
    """A sub-agent that starts before the orchestrator's first request counts from the session's start."""
    entries = (subagent(start_s + 4.0, 2.0), request(start_s + 10.0, [1]), request(start_s + 30.0, [1, 2]))
    script = compile_session(session(*entries), None)
    main = script.agents[0]
    assert script.start_s == start_s + 4.0
    assert [spawn.after_s for spawn in main.early_spawns] == [0.0]
    assert [turn.gap_s for turn in main.turns] == [6.0, 20.0]


def test_sessions_start_within_the_stated_part_of_their_turns() -> None:
    script = compile_session(session(*(request(10.0 * k, list(range(k + 1))) for k in range(20))), None)

    def turns_played(name: str) -> int:
        config = ReplayConfig(path=Path("x"), start="random", start_between=(0.25, 0.75))
        agent = session_agent(config, script, shared=SharedNodes(), seed=1, session=name)
        return sum(isinstance(effect, Infer) for effect in effects(agent.make()))

    starts = {20 - turns_played(f"s{k}") for k in range(200)}
    assert starts == set(range(5, 15))


def test_a_part_of_a_session_needs_a_random_start_and_an_order() -> None:
    with pytest.raises(ValueError, match="goes with `start: random`"):
        ReplayConfig(path=Path("x"), start_between=(0.25, 0.75))
    with pytest.raises(ValueError, match="0 <= LOW <= HIGH <= 1"):
        ReplayConfig(path=Path("x"), start="random", start_between=(0.75, 0.25))


def test_a_subagent_that_starts_as_recorded_needs_planned_replies() -> None:
    with pytest.raises(ValueError, match="set `replies: planned`, found `replies: actual`"):
        config(subagent_start="recorded")


def test_primers_are_sent_before_the_first_turn_without_waits() -> None:
    recorded = session(*(request(40.0 * at, list(range(at + 1))) for at in range(8)))
    config = ReplayConfig(path=Path("x"), start="random", start_between=(0.5, 0.5), primers=3)
    script = compile_session(recorded, None)
    agent = session_agent(config, script, shared=SharedNodes(), seed=1, session="s")
    seen = effects(agent.make())[:5]
    primers, think, first = seen[:3], seen[3], seen[4]
    assert [
        (each.prompt.length, each.output_tokens, each.kind) for each in primers if isinstance(each, Infer)
    ] == [(64 * (at + 1), 1, "primer") for at in (1, 2, 3)]
    assert isinstance(think, Think)
    assert isinstance(first, Infer)
    assert (first.prompt.length, first.kind) == (64 * 5, "work")


def test_a_random_start_is_among_the_requests_that_are_played() -> None:
    recorded = session(*(request(40.0 * at, list(range(at + 1))) for at in range(20)))
    config = ReplayConfig(path=Path("x"), start="random", requests_max=5, primers=2)
    script = compile_session(recorded, None)
    firsts = set()
    for name in map(str, range(50)):
        agent = session_agent(config, script, shared=SharedNodes(), seed=1, session=name)
        asked = [each for each in effects(agent.make()) if isinstance(each, Infer)]
        firsts.add(next(each.prompt.length for each in asked if each.kind == "work"))
        assert asked[-1].prompt.length == 64 * 5
    assert firsts == {64 * (at + 1) for at in range(5)}
