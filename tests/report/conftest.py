"""A made-up run, as rich as a real one: sessions with people, tools, sub-agents and compactions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from swarm.config.experiment import Experiment
from swarm.config.load import LoadConfig
from swarm.config.slo import ObjectiveConfig
from swarm.config.workload import SyntheticConfig
from swarm.measure.series import series
from swarm.measure.sketch import Sketch
from swarm.measure.summary import summarize
from swarm.measure.totals import RunTotals, facts_of
from swarm.measure.window import Windows
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable, merged
from swarm.records.run_folder import RunFolder
from swarm.report.charts import schemapi

DURATION_S = 900.0
WARMUP_S = 60.0


def _row(random, agent, parent, turn, intended_s, prompt, cached, ideal, kind, opened_by, rewritten):
    load = 1.0 + 1.5 * np.sin(intended_s / DURATION_S * np.pi) ** 2
    lag_s = float(random.lognormal(-7, 0.5))
    ttft_s = 0.03 + (prompt - cached) / 20_000 * load * float(random.lognormal(0, 0.4))
    output = int(random.lognormal(5, 0.7)) + 8 if kind == "work" else 2500
    decode_s = (output - 1) * 0.012 * load
    sent_s = intended_s + lag_s
    is_failed = random.random() < 0.01
    first_s = None if is_failed else sent_s + ttft_s
    end_s = sent_s + ttft_s + (0.0 if is_failed else decode_s)
    lost = ideal - cached
    return RequestRow(
        session=agent.split("/")[0],
        agent=agent,
        parent=parent,
        role="orchestrator" if parent is None else "explorer",
        turn=turn,
        kind=kind,
        opened_by=opened_by,
        host=int(agent.split("/")[0][1:]) % 2,
        endpoint=f"http://127.0.0.1:{8000 + int(agent.split('/')[0][1:]) % 2}",
        intended_s=intended_s,
        due_s=intended_s,
        sent_s=sent_s,
        first_token_s=first_s,
        last_token_s=None if is_failed else end_s,
        completed_s=end_s,
        prompt_tokens=prompt,
        planned_prompt_tokens=prompt,
        cached_tokens=None if is_failed else cached,
        ideal_tokens=ideal,
        modelled_tokens=None,
        output_tokens=0 if is_failed else output,
        planned_output_tokens=output,
        rewritten_tokens=rewritten,
        admission_wait_s=0.0,
        retry_wait_s=0.0,
        attempts=2 if is_failed else 1,
        outcome="failed" if is_failed else "ok",
        error_class=("http_429", "timeout_first_token")[turn % 2] if is_failed else None,
        itl_mean_s=None if is_failed else 0.012 * load,
        itl_max_s=None if is_failed else 0.1 * load,
        merged_reads=0,
        resumed=False,
        measured=intended_s >= WARMUP_S,
        by_tier=None if is_failed else (cached * 3 // 4, cached - cached * 3 // 4, 0, 0, 0),
        lost_to=None if is_failed else (16, 0, lost // 3, lost - 16 - lost // 3, 0, 0, 0, 0),
        echo=True,
        prompt_node=agent,
    )


def _agent(random, rows, steps, agent, parent, at_s, turns):
    steps.append((at_s, 1, parent is not None))
    context, held = 15_000 + int(random.lognormal(8.5, 0.8)), 15_000
    child = 0
    opened_by = "start"
    for turn in range(turns):
        rewritten, kind = 0, "work"
        if context > 120_000:
            kind = "compact"
        ideal = held // 16 * 16
        kept = 1.0 if random.random() < 0.8 else float(random.random())
        cached = max(0, int(ideal * kept) - 16) // 16 * 16
        row = _row(random, agent, parent, turn, at_s, context, cached, ideal, kind, opened_by, rewritten)
        rows.append(row)
        held, at_s = context + row.output_tokens, row.completed_s
        context = held + int(random.lognormal(7, 1.0))
        if kind == "compact":
            context, held = 18_000, 15_000
        opened_by = "human" if turn % 7 == 6 else "tool"
        if parent is None and random.random() < 0.08 and at_s < DURATION_S - 60:
            _agent(random, rows, steps, f"{agent}/{child}", agent, at_s, int(random.integers(3, 9)))
            child += 1
        at_s += float(random.lognormal(3.5 if opened_by == "human" else 2.2, 0.7))
        if at_s > DURATION_S:
            break
    steps.append((min(at_s, DURATION_S), -1, parent is not None))


def made_run(folder: Path, *, seed: int, agents: int, mode: str = "live", slower: float = 1.0) -> RunFolder:
    random = np.random.default_rng(seed)
    experiment = Experiment(
        name="sample",
        description="A made-up run.",
        seed=seed,
        workload=SyntheticConfig(),
        load=LoadConfig(agents=agents, duration_s=DURATION_S, warmup_s=WARMUP_S),
        slo=(
            ObjectiveConfig(metric="effective_ttft_s", quantile=0.95, at_most=4.0),
            ObjectiveConfig(metric="tpot_s", quantile=0.95, at_most=0.02),
        ),
    )
    rows: list[RequestRow] = []
    steps: list[tuple[float, int, bool]] = []
    for index in range(agents):
        _agent(random, rows, steps, f"s{index}", None, index * 30.0 / agents, 200)
    for row in rows:
        if row.first_token_s is not None:
            row.first_token_s = row.sent_s + (row.first_token_s - row.sent_s) * slower
    table = RowTable()
    table.extend(rows)
    everything = merged([table.table()])
    windows = Windows(window_s=5.0, origin_s=WARMUP_S)
    windows.add(everything)
    for at_s, change, is_subagent in steps:
        note = windows.agent_started if change > 0 else windows.agent_ended
        note(at_s, host=0, is_subagent=is_subagent)
    lag = Sketch()
    lag.add_many(random.lognormal(-7, 0.6, size=2000))
    facts = facts_of(experiment, run_id=f"sample-{seed}", mode=mode, is_emulated=True)
    totals = RunTotals(
        measured_from_s=WARMUP_S,
        measured_to_s=DURATION_S,
        sessions_started=agents,
        sessions_finished=0,
        orchestrators_started=agents,
        subagents_started=sum(change > 0 and is_subagent for _, change, is_subagent in steps),
        peak_live=agents + 10,
        live_agents_mean=agents + 4.2,
        sent=len(rows),
        in_flight=0,
        unaccounted=0,
        itl=None,
        loop_lag=lag,
        hosts=(),
        sessions_asked_mean=None,
        sessions_live_mean=None,
        counters=None,
        capacity=None,
        faults=(),
    )
    run = RunFolder.create(folder)
    run.write_run(experiment, {"run_id": facts.run_id, "mode": mode, "seed": seed, "swarm": "0.1.0"})
    run.write_requests(everything)
    run.write_windows(series(windows))
    run.write_summary(summarize(everything, facts=facts, totals=totals))
    return run


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory) -> RunFolder:
    return made_run(tmp_path_factory.mktemp("run") / "sample", seed=1, agents=20)


@pytest.fixture(scope="session")
def other_run(tmp_path_factory) -> RunFolder:
    return made_run(tmp_path_factory.mktemp("run") / "other", seed=2, agents=20, slower=1.6)


@pytest.fixture(autouse=True)
def charts_are_checked() -> Iterator[None]:
    """Let the charting library check every part of a chart against its schema, as runs do not."""
    schemapi.enable_debug_mode()
    yield
    schemapi.disable_debug_mode()
