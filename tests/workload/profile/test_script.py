"""A sampled session as a tree and as block ids: the same prompts."""

from pathlib import Path

import pytest

from swarm.config.read import read_profile
from swarm.context.ideal import Ideal
from swarm.report.fit.comparison import summed_up
from swarm.workload.profile.balance import Balanced
from swarm.workload.profile.script import recorded, script_of
from swarm.workload.replay import ReplayTree

SHIPPED = Path(__file__).resolve().parents[3] / "experiments" / "profiles" / "coding-agent.yaml"


def test_the_tree_has_the_ideal_hit_rate_of_the_written_blocks() -> None:
    profile = read_profile(SHIPPED)
    balanced = Balanced(profile, 3, ())
    assert profile.subagents is not None
    hits = tokens = 0
    sessions = []
    for index in range(30):
        plan = balanced.plan(index)
        script = script_of(plan, name=f"s{index}", child_shared_tokens=profile.subagents.shared_tokens)
        sessions.append(recorded(plan, script, block_tokens=64, start_s=0.0))
        tree = ReplayTree(script, f"s{index}", shares_prefix=False)
        ideal = Ideal(block_tokens=64)
        starts = [0.0, *(child.start_s for child in plan.children)]
        plans = [plan.main, *(child.plan for child in plan.children)]
        rows = [
            (start_s + float(at_s), number, turn)
            for number, (start_s, agent_plan) in enumerate(zip(starts, plans, strict=True))
            for at_s, turn in zip(agent_plan.at_s, script.agents[number].turns, strict=True)
        ]
        for _, _, turn in sorted(rows, key=lambda row: row[0]):
            prompt = tree.prompt(turn)
            hits += ideal.send(*prompt)
            tokens += prompt.length
    assert hits / tokens == pytest.approx(summed_up(sessions).ttl_hit_rates[-1], abs=1e-9)
