"""The same seed gives the turns of the simulation, to the byte, however many hosts play them."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow.parquet
import pytest

from swarm.config.read import read_experiment
from swarm.sim.run import simulate

PLAN = (
    "session",
    "agent",
    "parent",
    "turn",
    "role",
    "kind",
    "opened_by",
    "prompt_node",
    "planned_prompt_tokens",
    "planned_output_tokens",
    "rewritten_tokens",
    "echo",
)
SPREADS: dict[str, dict[str, Any]] = {
    "1 host": {"count": 1},
    "2 hosts": {"count": 2},
    "4 hosts": {"count": 4},
    "an actor for each agent": {"agents_per_host": 1},
}
SMALL = {
    "kind": "synthetic",
    "replies": "planned",
    "idle_cap_s": 0.1,
    "tool_tokens": 300,
    "system_tokens": 100,
    "first_context": {"median": 200, "sigma": 0.3},
    "turns": {"median": 5, "sigma": 0.4, "least": 3, "most": 8},
    "tool_think_s": {"median": 0.05, "sigma": 0.4},
    "human_wait": {"body": {"median": 0.1, "sigma": 0.3}, "tail_share": 0.0},
    "output": {"median": 10, "sigma": 0.4, "least": 4, "most": 20},
    "tool_result": {"median": 40, "sigma": 0.4},
    "human_message": {"median": 20, "sigma": 0.4},
    "summary": {"median": 40, "sigma": 0.2, "least": 20, "most": 80},
    "high_watermark": 1000,
    "subagents": {"chance_per_turn": 0.3, "turns": {"median": 2, "sigma": 0.3, "least": 1, "most": 3}},
}


LOAD = {"agents": 4, "ramp_s": 0.2, "sessions_max": 5, "duration_s": None, "drain_s": 2}


@pytest.fixture
def expected(write_experiment, tmp_path_factory) -> bytes:
    """What the same experiment plays in virtual time, where there are no hosts."""
    path = write_experiment(tmp_path_factory.mktemp("simulated"), workload=SMALL, load=LOAD)
    return _plan(simulate(read_experiment(path, []), ()).rows)


@pytest.mark.parametrize(
    "spread", [name if name == "2 hosts" else pytest.param(name, marks=pytest.mark.slow) for name in SPREADS]
)
def test_the_turns_are_the_same_bytes(swarm_run, expected: bytes, spread: str) -> None:
    run = swarm_run(workload=SMALL, load=LOAD, hosts={**SPREADS[spread], "report_every_s": 0.5})
    code, text = run.end()
    assert code == 0, text
    assert _plan(pyarrow.parquet.read_table(run.out / "requests.parquet")) == expected


def _plan(table: pyarrow.Table) -> bytes:
    rows = table.to_pylist()
    assert all(row["outcome"] == "ok" for row in rows)
    assert any(row["parent"] for row in rows), "a plan without sub-agents tells little"
    rows.sort(key=lambda row: (row["agent"], row["turn"]))
    return orjson.dumps([[row[name] for name in PLAN] for row in rows])
