"""A user's program live: taken over where its host is killed, and told by name when it breaks a rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import ProcessLauncher
from swarms import driven, experiment

from swarm.records.batch import Batch
from swarm.records.takeover import split

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


class KillsHost0:
    """Kills host 0 once, when it has reported some turns; `before` is done first."""

    def __init__(self, rows: int, before: Callable[[], None]) -> None:
        self.rows_left = rows
        self._before = before

    def __call__(self, launcher: ProcessLauncher, batch: Batch) -> None:
        if batch.host != 0 or self.rows_left <= 0:
            return
        self.rows_left -= split(batch)[0].num_rows
        if self.rows_left <= 0:
            self._before()
            launcher.kill(0)


@pytest.mark.slow
def test_a_program_goes_on_where_its_host_was_killed(tmp_path: Path) -> None:
    config = config_of(tmp_path, "steady", STEADY, hosts__count=1)
    alone = driven(config, tmp_path / "alone").results()
    kills = KillsHost0(40, lambda: None)
    killed = driven(config, tmp_path / "killed", on_batch=kills).results()
    assert kills.rows_left <= 0
    assert not killed.totals.faults
    assert planned(killed.rows) == planned(alone.rows)


def test_a_program_that_differs_after_its_host_was_killed_is_told_by_name(tmp_path: Path) -> None:
    config = config_of(tmp_path, "unsteady", UNSTEADY, hosts__count=1)
    kills = KillsHost0(30, (tmp_path / "mark").touch)
    (fault, *_) = driven(config, tmp_path / "run", on_batch=kills).results().totals.faults
    assert fault.startswith("program unsteady:main, agent s00000")
    assert (
        "turn 0 sends 50 tokens and asks for 5; before its host was lost it sent 40 and asked for 5" in fault
    )


@pytest.mark.parametrize("duration_s", [60.0, None])
@pytest.mark.parametrize("hosts", [1, 2])
def test_a_program_that_breaks_a_rule_ends_the_run(
    tmp_path: Path, hosts: int, duration_s: float | None
) -> None:
    # A module is imported once in a process: each case has its own name.
    name = f"faulty_{hosts}" if duration_s is None else f"faulty_for_a_time_{hosts}"
    config = config_of(tmp_path, name, FAULTY, load__duration_s=duration_s, hosts__count=hosts)
    began_s = time.monotonic()
    (fault,) = driven(config, tmp_path / "run").results().totals.faults
    assert time.monotonic() - began_s < 40
    assert fault.startswith(f"program {name}:main, agent s000003: it yielded 'surprise'")
    assert "yield an effect" in fault
