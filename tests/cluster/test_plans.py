"""The same seed gives the same turns, to the byte, however many hosts play them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet
import pytest

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


@pytest.fixture(scope="module")
def plans() -> dict[str, bytes]:
    """What each spread has played."""
    return {}


@pytest.mark.parametrize("spread", SPREADS)
def test_the_turns_are_the_same_bytes(swarm_run, plans: dict[str, bytes], spread: str) -> None:
    load = {"agents": 4, "ramp_s": 0.2, "sessions_max": 5, "duration_s": None, "drain_s": 2}
    run = swarm_run(workload=SMALL, load=load, hosts={**SPREADS[spread], "report_every_s": 0.5})
    code, text = run.end()
    assert code == 0, text
    plans[spread] = _plan(run.out / "requests.parquet")
    assert plans[spread] == next(iter(plans.values()))


def _plan(path: Path) -> bytes:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert all(row["outcome"] == "ok" for row in rows)
    assert any(row["parent"] for row in rows), "a plan without sub-agents tells little"
    rows.sort(key=lambda row: (row["agent"], row["turn"]))
    return orjson.dumps([[row[name] for name in PLAN] for row in rows])
