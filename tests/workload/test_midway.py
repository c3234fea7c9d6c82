"""Sub-agents of a session that is entered in the middle, held against the recorded times."""

from __future__ import annotations

import pytest

from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent, Infer, Join, Spawn, Think
from swarm.workload.midway import running_at, turn_at
from swarm.workload.recorded import RecordedSubagent
from swarm.workload.replay import session_agent
from swarm.workload.script import SessionScript, compile_session
from tests.workload.test_replay import config, effects, request, session


def subagent(t_s: float, *starts_s: float) -> RecordedSubagent:
    requests = tuple(request(at_s, [90 + index]) for index, at_s in enumerate(starts_s))
    return RecordedSubagent(t_s, "x", "explore", None, 0, 0, requests)


def script(*subagents: RecordedSubagent) -> SessionScript:
    """An orchestrator that asks at 0, 100, 200 and 300 s."""
    main = [request(100.0 * at, list(range(at + 1)), think_s=60.0) for at in range(4)]
    return compile_session(session(*main, *subagents), None)


@pytest.mark.parametrize(
    ("first", "running"),
    [(1, [(0, 2, 20.0)]), (2, [(1, 1, 50.0)]), (3, [])],
)
def test_those_run_that_were_begun_and_have_requests_left(
    first: int, running: list[tuple[int, int, float]]
) -> None:
    recorded = script(subagent(10.0, 0.0, 30.0, 110.0), subagent(150.0, 0.0, 100.0))
    found = [(each.spawn.agent - 1, each.first, each.after_s) for each in running_at(recorded, first)]
    assert found == running


@pytest.mark.parametrize(
    ("share", "turn"), [(0.0, 0), (0.24, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.75, 3), (0.8, 3), (1.0, 3)]
)
def test_a_share_of_the_time_counts_to_the_last_request_of_any_agent(share: float, turn: int) -> None:
    # It asks at 0, 100, 200 and 300 s, and its sub-agent for the last time at 400 s.
    assert turn_at(script(subagent(150.0, 0.0, 250.0)), share, 4) == turn


def test_a_session_is_entered_at_the_first_turn_from_the_drawn_moment_on() -> None:
    recorded = script(subagent(150.0, 0.0, 250.0))
    entered = config(start="random", start_between=(0.26, 0.26), start_by="time")
    agent = session_agent(entered, recorded, shared=SharedNodes(), seed=1, session="s")
    first = next(effect for effect in effects(agent.make()) if isinstance(effect, Infer))
    assert first.prompt.length == recorded.agents[0].turns[2].length


def test_an_agent_that_began_before_its_session_runs_too() -> None:
    recorded = compile_session(
        session(subagent(0.0, 0.0, 40.0), request(10.0, [1]), request(30.0, [1, 2])), None
    )
    assert [(each.first, each.after_s) for each in running_at(recorded, 1)] == [(1, 10.0)]


@pytest.mark.parametrize(("primers", "lead_s"), [(0, 0.0), (1, 60.0)])
def test_a_subagent_is_primed_and_asks_as_long_after_the_first_turn_as_recorded(
    primers: int, lead_s: float
) -> None:
    entered = config(start="random", start_between=(0.5, 0.5), primers=primers, running_subagents=True)
    recorded = script(subagent(150.0, 0.0, 20.0, 70.0))
    agent = session_agent(entered, recorded, shared=SharedNodes(), seed=1, session="s")
    spawn, *seen = effects(agent.make())
    assert isinstance(spawn, Spawn)
    assert isinstance(spawn.agent, Agent)
    *primed, think, asked = effects(spawn.agent.make())
    assert [(each.kind, each.output_tokens) for each in primed if isinstance(each, Infer)] == [
        ("primer", 1)
    ] * primers
    # Its request at 220 s, of a session that is entered at 200 s.
    assert think == Think(lead_s + 20.0, "tool")
    assert isinstance(asked, Infer)
    assert asked.kind == "work"
    assert seen[-1] == Join(("s/0",))


def test_only_those_that_start_later_are_played_unless_asked() -> None:
    entered = config(start="random", start_between=(0.5, 0.5))
    agent = session_agent(
        entered, script(subagent(150.0, 0.0, 70.0)), shared=SharedNodes(), seed=1, session="s"
    )
    assert not any(isinstance(effect, Spawn) for effect in effects(agent.make()))
