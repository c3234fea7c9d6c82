"""Time in which nothing is in flight is skipped: held against the same run with its gaps cut by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.config.experiment import Experiment
from swarm.measure.results import Results
from swarm.sim.run import simulate, simulated
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from swarm.workload.script import compile_session
from swarm.workload.source import Material

CAP_S = 10.0


def request(t_s: float, think_s: float | None = None) -> RecordedRequest:
    return RecordedRequest(
        t_s=t_s,
        model="m",
        streaming=True,
        input_tokens=64,
        output_tokens=11,
        hash_ids=[1],
        input_types=("tool_result",),
        output_types=("text",),
        stop=None,
        api_s=1.0,
        think_s=think_s,
        ttft_s=None,
    )


def recorded(name: str, waits_s: list[float], *subagents: RecordedSubagent) -> RecordedSession:
    at_s, entries = 0.0, [request(0.0)]
    for wait_s in waits_s:
        at_s += 1.0 + wait_s
        entries.append(request(at_s, wait_s))
    return RecordedSession(name, f"{name}.json", name, 64, 0, 0, ("m",), (*entries, *subagents))


def subagent(t_s: float, waits_s: list[float]) -> RecordedSubagent:
    entries = recorded("x", waits_s).entries
    requests = tuple(entry for entry in entries if isinstance(entry, RecordedRequest))
    return RecordedSubagent(t_s, "x", "explore", None, 0, 0, requests)


def experiment(agents: int, *, load: dict[str, Any] | None = None, **workload: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "t",
            "workload": {
                "kind": "replay",
                "path": ".",
                "replies": "planned",
                "shared_prefix": False,
                "order": "file",
                **workload,
            },
            "load": {"agents": agents, "duration_s": None, "ramp_s": 0, "warmup_s": 0, **(load or {})},
            "fleet": {
                "cost": {
                    "kind": "simple",
                    "prefill_tokens_per_s": 10,
                    "kv_capacity_tokens": 4_000_000,
                },
            },
        }
    )


def played(config: Experiment, *sessions: RecordedSession) -> Results:
    scripts = tuple(compile_session(session, None) for session in sessions)
    return simulate(config, Material(scripts=scripts))


def rows(results: Results) -> list[dict[str, Any]]:
    return sorted(results.rows.to_pylist(), key=lambda row: (row["agent"], row["turn"]))


def cut_by_hand(whole: list[dict[str, Any]], cap_s: float) -> tuple[list[float], float]:
    """Return when requests are due if gaps without any in flight have `cap_s` at most, and what is cut."""
    cuts: list[tuple[float, float]] = []
    busy_until_s = 0.0
    for row in sorted(whole, key=lambda row: row["intended_s"]):
        surplus_s = row["intended_s"] - busy_until_s - cap_s
        if surplus_s > 0:
            cuts.append((row["intended_s"], surplus_s))
        busy_until_s = max(busy_until_s, row["completed_s"])
    times = [
        row["intended_s"] - sum(cut_s for at_s, cut_s in cuts if at_s <= row["intended_s"]) for row in whole
    ]
    return times, sum(cut_s for _, cut_s in cuts)


def test_one_agents_waits_end_after_the_cap() -> None:
    found = rows(played(experiment(1, system_idle_cap_s=CAP_S), recorded("a", [4.0, 500.0, 30.0])))
    ended_s = [row["completed_s"] for row in found]
    due_s = [0.0, ended_s[0] + 4.0, ended_s[1] + CAP_S, ended_s[2] + CAP_S]
    assert [row["intended_s"] for row in found] == pytest.approx(due_s)


@pytest.mark.parametrize("timing", ["think-only", "original"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_run_is_the_whole_one_with_its_idle_gaps_cut(seed: int, timing: str) -> None:
    chance = np.random.default_rng(seed)

    def waits(count: int) -> list[float]:
        return [float(wait_s) for wait_s in chance.exponential(120.0, count)]

    starts_s = [float(start_s) for start_s in chance.uniform(0, 400, 3)]
    sessions = [recorded(f"s{at_s}", waits(8), subagent(at_s, waits(4))) for at_s in starts_s]
    whole = rows(played(experiment(3, timing=timing), *sessions))
    results = played(experiment(3, timing=timing, system_idle_cap_s=CAP_S), *sessions)
    due, cut_s = cut_by_hand(whole, CAP_S)
    assert cut_s > 100, f"SEED={seed}"
    assert [row["intended_s"] for row in rows(results)] == pytest.approx(due, abs=1e-6), f"SEED={seed}"
    assert results.skipped_s == pytest.approx(cut_s), f"SEED={seed}"


def test_nothing_is_skipped_while_somebody_asks() -> None:
    sessions = [recorded("a", [5.0] * 30), recorded("b", [100.0])]
    assert played(experiment(2, system_idle_cap_s=CAP_S), *sessions).skipped_s == 0.0


def test_sessions_that_the_load_has_yet_to_start_keep_their_times() -> None:
    load = {"ramp_s": 200.0}
    sessions = [recorded("a", [300.0]), recorded("b", [])]
    whole = rows(played(experiment(2, load=load), *sessions))
    found = rows(played(experiment(2, load=load, system_idle_cap_s=CAP_S), *sessions))
    assert found[2]["intended_s"] == whole[2]["intended_s"] > 50
    assert found[1]["intended_s"] == pytest.approx(found[0]["completed_s"] + CAP_S)


def test_a_runs_notes_say_what_was_skipped() -> None:
    scripts = (compile_session(recorded("a", [60.0]), None),)
    config = experiment(1, system_idle_cap_s=CAP_S)
    notes = simulated(config, material=Material(scripts=scripts)).left_out
    assert notes == (
        "50.0 s without any request were skipped (workload.system_idle_cap_s): recorded waits are longer",
    )


def test_a_subagent_starts_as_long_after_its_parents_request_as_recorded() -> None:
    session = recorded("a", [40.0], subagent(2.0, []))
    after, as_recorded = (
        rows(played(experiment(1, subagent_start=start), session)) for start in ("after_turn", "recorded")
    )
    assert after[2]["agent"] == as_recorded[2]["agent"] == "s000000/0"
    # Recorded: a service of 1 s, and the sub-agent 1 s after it. Here the service takes longer.
    assert after[2]["intended_s"] == pytest.approx(after[0]["completed_s"] + 1.0)
    assert as_recorded[2]["intended_s"] == pytest.approx(2.0)
    assert as_recorded[0]["completed_s"] > 2.0
    assert as_recorded[1]["intended_s"] == pytest.approx(as_recorded[0]["completed_s"] + 40.0)
