"""Every agent in an actor of its own: the same plan, and sub-agents whose actor is killed go on."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

pytestmark = pytest.mark.timeout(400)
"""Processes start slowly where a machine is busy; nothing here waits for a fixed time."""

SMALL = {
    "load": {"agents": 2, "ramp_s": 0, "sessions_max": 2, "duration_s": None, "drain_s": 5},
    "workload__idle_cap_s": 0.2,
    "workload__summary": {"median": 40, "sigma": 0.2, "least": 20, "most": 80},
    "workload__turns": {"median": 10, "sigma": 0.1, "least": 8, "most": 12},
    "workload__subagents": {
        "chance_per_turn": 0.25,
        "fan_out_max": 1,
        "turns": {"median": 10, "sigma": 0.1, "least": 8, "most": 12},
    },
}
PLANNED = ("planned_prompt_tokens", "planned_output_tokens", "kind", "opened_by", "prompt_node", "role")


def plan(out: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    rows = pyarrow.parquet.read_table(out / "requests.parquet").to_pylist()
    answered = [row for row in rows if row["outcome"] == "ok"]
    found = {(row["agent"], row["turn"]): tuple(row[column] for column in PLANNED) for row in answered}
    assert len(found) == len(answered), "a turn was answered twice"
    return found


@pytest.mark.slow
def test_agents_in_actors_of_their_own_do_what_they_do_on_one_host(
    nodes: Any, swarm_run: Callable[..., Any], tmp_path: Path
) -> None:
    together = swarm_run(**SMALL, hosts={"count": 1})
    code, text = together.end()
    assert code == 0, text
    expected = plan(together.out)
    assert any("/" in agent for agent, _ in expected), "the workload has no sub-agents"
    together.out.rename(tmp_path / "together")

    apart = swarm_run(**SMALL, hosts={"agents_per_host": 1, "report_every_s": 0.3})
    journals = apart.out / "journal"
    apart.wait_until(lambda: bool(subagent_journals(journals, epoch=1)) or kill_one(nodes, journals))
    apart.wait_until(lambda: bool(subagent_journals(journals, epoch=1)))
    code, text = apart.end()
    assert code == 0, text
    assert plan(apart.out) == expected


def subagent_journals(journals: Path, epoch: int) -> list[Path]:
    """Return the journals of actors that a host has started: their numbers begin at 1,000,000."""
    return sorted(journals.glob(f"host-1??????-{epoch}.journal"))


def kill_one(nodes: Any, journals: Path) -> bool:
    """Kill the process that runs a sub-agent; return whether there was one."""
    for journal in subagent_journals(journals, epoch=0):
        for pid in nodes.processes("RemoteHost"):
            if journal.resolve() in open_files(pid):
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def open_files(pid: int) -> set[Path]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(link.readlink())
        except OSError:
            continue
    return found
