"""A plan that is played through the proxy comes back from it: its tokens, turns, hits and tree."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from swarms import aimed, driven, experiment, provider

from swarm.workload.formats import read_sessions
from swarm.workload.recorded import RecordedRequest, RecordedSession

Turn = tuple[int, int | None, int]


def planned(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[Turn]]]:
    """Return by session and agent what each turn had: prompt, cached, output."""
    found: dict[str, dict[str, list[Turn]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["turn"]):
        counts = row["prompt_tokens"], row["cached_tokens"], row["output_tokens"]
        found[row["session"]][row["agent"]].append(counts)
    return found


def told(sessions: list[RecordedSession]) -> dict[str, dict[str, list[Turn]]]:
    def turn(request: RecordedRequest) -> Turn:
        return request.input_tokens, request.read_tokens, request.output_tokens

    found: dict[str, dict[str, list[Turn]]] = {}
    for session in sessions:
        main = [turn(entry) for entry in session.entries if isinstance(entry, RecordedRequest)]
        found[session.id] = {session.id: main}
        found[session.id] |= {
            agent.agent_id: list(map(turn, agent.requests)) for agent in session.subagents()
        }
    return found


SLOW = pytest.mark.slow
APIS = ["chat", *(pytest.param(a, marks=SLOW) for a in ("completions", "messages", "responses", "token_ids"))]


@pytest.mark.parametrize("api", APIS)
def test_a_trace_of_a_run_equals_its_plan(tmp_path: Path, wire: SimpleNamespace, api: str) -> None:
    changes: dict[str, Any] = {"load__agents": 4, "load__sessions_max": 4, "load__ramp_s": 0.1}
    config = experiment(target={"api": api}, hosts={"count": 1, "report_every_s": 0.2}, **changes)
    with provider(config) as port, wire.captured(tmp_path / "out", f"http://127.0.0.1:{port}") as front:
        rows = driven(aimed(config, front), tmp_path / "journals").results().rows.to_pylist()
    assert all(row["outcome"] == "ok" for row in rows)
    sessions = list(read_sessions(tmp_path / "out", "auto"))
    assert sum(len(list(session.subagents())) for session in sessions) > 0
    # A run begins with requests that measure the server's tokenizer.
    found = {name: agents for name, agents in told(sessions).items() if not name.startswith("fidelity/")}
    assert found == {name: dict(agents) for name, agents in planned(rows).items()}
