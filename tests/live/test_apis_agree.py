"""`swarm run` against `swarm serve`, by each API: what it counted is what the simulation counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from swarms import FLEET, WORKLOAD
from whole import Ended, command, lived, written

LAX = {"send_lag_p99_s": 60, "loop_lag_p99_s": 60, "cpu_share": 9, "cpu_wait_share": 1}
HASTY = {
    "tool_think_s": {"median": 0.01, "sigma": 0.4},
    "human_wait": {"body": {"median": 0.02, "sigma": 0.3}, "tail_share": 0.0},
}
COUNTED = ("prompt_tokens", "cached_tokens", "output_tokens", "written_5m_tokens", "written_1h_tokens")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A served fleet, in a process of its own."""
    file = tmp_path_factory.mktemp("fleet") / "fleet.yaml"
    file.write_text(json.dumps(FLEET))
    command = [sys.executable, "-c", "from swarm.cli import main; main()", "serve", str(file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def parts(api: str, replies: str, urls: list[str]) -> dict[str, Any]:
    """Return an experiment of agents that start sub-agents, on a fleet that evicts nothing."""
    return {
        "workload": {**WORKLOAD, **HASTY, "replies": replies},
        "load": {"agents": 6, "ramp_s": 0, "sessions_max": 6, "duration_s": None},
        "hosts": {"count": 2, "report_every_s": 0.2},
        "fleet": FLEET,
        "target": {"urls": urls, "api": api, "tool_definition_tokens": 100},
        "audit": LAX,
    }


def counted(run: Ended) -> dict[str, int | None]:
    """Return a run's sums, as its rows have them."""
    assert run.code == 0, run.said
    rows = [row for row in run.rows if row["outcome"] == "ok"]
    sums = {name: sum(row[name] or 0 for row in rows) for name in COUNTED}
    return {"requests": len(rows), "sent": run.summary["requests"]["sent"], **sums}


@pytest.mark.parametrize(
    ("api", "replies"),
    [("chat", "actual"), ("messages", "actual"), ("messages", "planned"), ("responses", "actual")],
)
def test_a_live_run_counts_what_the_simulation_counts(
    tmp_path: Path, url: str, api: str, replies: str
) -> None:
    live, simulated = tmp_path / "live", tmp_path / "simulated"
    found = lived(live, written(live, **parts(api, replies, [url])))
    expected = command(
        simulated, "simulate", written(simulated, **parts(api, replies, [])), "--out", simulated
    )
    assert counted(found) == counted(expected)
    assert counted(found)["written_5m_tokens"] == (
        found.summary["tokens"]["computed"] if api == "messages" else 0
    )
    for name in ("prompt", "cached", "computed", "output", "rewritten", "written_5m", "written_1h"):
        assert found.summary["tokens"][name] == expected.summary["tokens"][name], name
    for name in ("hit_rate", "ideal_hit_rate"):
        assert found.summary["cache"][name] == pytest.approx(expected.summary["cache"][name]), name
