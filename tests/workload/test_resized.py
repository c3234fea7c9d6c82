"""Recorded sessions made to fit a target, and that what was changed is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.config.workload import ReplayConfig
from swarm.errors import ConfigError
from swarm.workload.resized import longest_tokens, resized
from swarm.workload.script import AgentScript, NodeScript, SessionScript, TurnScript


def turn(length: int, output: int, continues: bool = True) -> TurnScript:
    return TurnScript(
        node=0,
        length=length,
        output=output,
        continues=continues,
        gap_s=1.0,
        think_s=1.0,
        api_s=1.0,
        opened_by="tool",
        rewritten=10,
        spawns=(),
    )


def script(name: str, *turns: TurnScript) -> SessionScript:
    nodes = (NodeScript(-1, 30, 20, 10), NodeScript(0, 64, 0, 0))
    return SessionScript(name, None, nodes, (AgentScript("orchestrator", turns, ()),))


LONG, SHORT = script("long", turn(1_000, 100), turn(1_101, 7, False)), script("short", turn(100, 5, False))


def config(**changes: object) -> ReplayConfig:
    return ReplayConfig(path=Path("any"), **changes)  # type: ignore[arg-type]


def test_nothing_is_changed_where_nothing_is_asked() -> None:
    assert resized(config(), (LONG, SHORT)) == ((LONG, SHORT), ())


def test_sessions_with_longer_requests_are_left_out_and_told() -> None:
    scripts, notes = resized(config(context_max=1_000), (LONG, SHORT))
    assert scripts == (SHORT,)
    assert notes == (
        "left out 1 of 2 recorded sessions: they have requests longer than workload.context_max: 1,000",
    )


def test_where_none_is_short_enough_the_shortest_is_named() -> None:
    with pytest.raises(ConfigError, match=r"context_max: 50: .* has 105 tokens"):
        resized(config(context_max=50), (LONG, SHORT))


def test_all_lengths_are_scaled_and_replies_still_fit_the_next_prompt() -> None:
    scripts, notes = resized(config(context_scale=0.1, context_max=120), (LONG, SHORT))
    assert [longest_tokens(each) for each in scripts] == [111, 11]
    first, second = scripts[0].agents[0].turns
    assert (first.length, first.output, first.continues, first.rewritten) == (100, 10, True, 1)
    assert (second.length, second.output) == (110, 1)
    assert scripts[0].nodes == (NodeScript(-1, 3, 2, 1), NodeScript(0, 6, 0, 0))
    assert notes == ("prompts and replies have 0.1 times their recorded length",)


def test_a_reply_that_no_longer_fits_is_not_continued() -> None:
    rounded = script("one", turn(10, 1), turn(11, 1, False))
    scripts, _ = resized(config(context_scale=0.1), (rounded,))
    assert [each.continues for each in scripts[0].agents[0].turns] == [False, False]


def test_sessions_are_chosen_by_their_longest_request_and_their_subagents() -> None:
    child = AgentScript("subagent", (turn(50, 5, False),), ())
    parent = SessionScript("parent", None, SHORT.nodes, (*SHORT.agents, child))
    everyone = (LONG, SHORT, parent)
    assert resized(config(context_min=1_000), everyone)[0] == (LONG,)
    assert resized(config(subagents="with"), everyone)[0] == (parent,)
    kept, notes = resized(config(subagents="without", context_min=106), everyone)
    assert kept == (LONG,)
    assert notes == (
        "left out 1 of 3 recorded sessions by workload.subagents: without",
        "left out 1 of 2 recorded sessions by workload.context_min: 106",
    )
    with pytest.raises(ConfigError, match=r"subagents: with: each of the 2 sessions has none"):
        resized(config(subagents="with"), (LONG, SHORT))
    with pytest.raises(ConfigError, match=r"context_min: 9,000: .* the longest request has 1,108 tokens"):
        resized(config(context_min=9_000), everyone)
