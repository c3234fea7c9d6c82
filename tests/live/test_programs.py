"""A user's program live: taken over where its host is killed, and told by name when it breaks a rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from swarms import Local, aimed, experiment, provider

STEADY = """
from swarm import Join, Think


def child(agent):
    agent.append(30)
    for _ in range(3):
        yield agent.infer(6)
        yield Think(0.05)
        agent.append(10)
    return agent.length


def main(agent):
    chance = agent.chance("sizes")
    agent.begin_with("system", 100)
    for turn in range(6):
        agent.append(int(chance.integers(10, 60)))
        yield agent.infer(int(chance.integers(4, 20)))
        yield Think(float(chance.exponential(0.1)))
        if turn % 2:
            path = yield agent.spawn(child)
            (ended,) = yield Join((path,))
            agent.append(ended.returned)
"""
UNSTEADY = """
from pathlib import Path
from swarm import Think


def main(agent):
    for _ in range(20):
        agent.append(50 if Path(agent.parameters["mark"]).exists() else 40)
        yield agent.infer(5)
        yield Think(0.1)
"""
FAULTY = """
from swarm import Think


def main(agent):
    agent.append(40)
    yield agent.infer(5)
    if agent.session == "s000003":
        yield "surprise"
    for _ in range(1000):
        yield Think(0.2)
        yield agent.infer(5)
"""


def config_of(folder: Path, name: str, text: str, **parts: Any) -> Any:
    (folder / f"{name}.py").write_text(text)
    workload = {
        "kind": "program",
        "program": f"{name}:main",
        "path": str(folder),
        "parameters": {"mark": str(folder / "mark")},
    }
    return experiment(workload=workload, **parts)


def planned(rows: Any) -> dict[tuple[str, int], tuple[int, int, str]]:
    """Return what was sent of each turn that was answered; each turn once."""
    found: dict[tuple[str, int], tuple[int, int, str]] = {}
    for row in rows.to_pylist():
        if row["outcome"] == "ok":
            assert (row["agent"], row["turn"]) not in found
            asked = (row["planned_prompt_tokens"], row["planned_output_tokens"], row["prompt_node"])
            found[row["agent"], row["turn"]] = asked
    return found


def test_a_program_goes_on_where_its_host_was_killed(tmp_path: Path) -> None:
    config = config_of(tmp_path, "steady", STEADY)
    with provider(config) as port:
        config = aimed(config, port)
        alone, killed = (
            Local(config, tmp_path / "alone", hosts=1),
            Local(config, tmp_path / "killed", hosts=1),
        )
        alone.start(0)
        killed.start(0)
        killed.wait_for_rows(40)
        killed.kill(0)
        killed.start(0, epoch=1, past=killed.past(0))
        alone.wait()
        killed.wait()
    assert not killed.settled().totals.faults
    assert planned(killed.settled().rows) == planned(alone.settled().rows)


def test_a_program_that_differs_after_its_host_was_killed_is_told_by_name(tmp_path: Path) -> None:
    config = config_of(tmp_path, "unsteady", UNSTEADY)
    with provider(config) as port:
        local = Local(aimed(config, port), tmp_path / "run", hosts=1)
        local.start(0)
        local.wait_for_rows(30)
        local.kill(0)
        (tmp_path / "mark").touch()
        local.start(0, epoch=1, past=local.past(0))
        local.wait()
    (fault, *_) = local.settled().totals.faults
    assert fault.startswith("program unsteady:main, agent s00000")
    assert (
        "turn 0 sends 50 tokens and asks for 5; before its host was lost it sent 40 and asked for 5" in fault
    )


@pytest.mark.parametrize("duration_s", [60.0, None])
def test_a_program_that_breaks_a_rule_ends_its_hosts_run(tmp_path: Path, duration_s: float | None) -> None:
    config = config_of(tmp_path, "faulty", FAULTY, load__duration_s=duration_s)
    with provider(config) as port:
        local = Local(aimed(config, port), tmp_path / "run", hosts=1)
        local.start(0)
        local.wait()
        assert local.now_s < 30
    (fault,) = local.settled().totals.faults
    assert fault.startswith("program faulty:main, agent s000003: it yielded 'surprise'")
    assert "yield an effect" in fault
