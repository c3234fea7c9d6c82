"""The load that there was against the one asked for: by hand, and in whole simulations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from scripted_levels import ended_row

from swarm.config.experiment import Experiment
from swarm.config.workload import LognormalConfig, PromptSetConfig
from swarm.measure.delivery import Herd, delivery_of, herd_of
from swarm.measure.notes import notes_of
from swarm.records.batch import AgentStep
from swarm.records.rows import RowTable, batch_of
from swarm.sim.run import simulated

FLEET = {"cost": {"kind": "simple", "prefill_tokens_per_s": 1e5, "decode_base_s": 0.01}}
ONCE = {"kind": "prompt_set", "prompts": 4, "prompt_tokens": 1000, "output_tokens": 10, "turns": 11}


def experiment(**load: Any) -> Experiment:
    asked = {"agents": 4, "ramp_s": 0, "duration_s": 100, **load}
    workload = {**ONCE, "think_s": {"median": 1.0, "sigma": 0.0}}
    return Experiment.model_validate({"name": "t", "workload": workload, "load": asked, "fleet": FLEET})


def told(asked: Experiment) -> tuple[dict[str, Any], list[str]]:
    found = simulated(asked)
    return found.summary(), notes_of(found.facts, found.results.totals)


def test_rates_end_with_the_last_due_turn_where_sessions_run_out() -> None:
    summary, notes = told(experiment(replace=False))
    # 4 agents of 11 turns, about 1.1 s apart: all is over after 11 s or so of 100.
    assert summary["duration_s"] == summary["measured"]["to_s"] == pytest.approx(11, abs=1.5)
    assert summary["throughput"]["requests_per_s"] == pytest.approx(44 / summary["duration_s"])
    assert summary["live_agents_mean"] == pytest.approx(4, rel=0.01)
    assert summary["load"]["sessions_asked_mean"] == 4
    assert summary["load"]["sessions_live_mean"] == pytest.approx(4 * summary["load"]["ran_out_s"] / 100)
    assert summary["valid"] and [note for note in notes if note.startswith("the load ran out: ")]


@pytest.mark.parametrize(
    "load", [{}, {"replace": False, "duration_s": None}, {"replace": False, "duration_s": 5}]
)
def test_a_load_that_lasts_is_measured_to_its_end(load: dict[str, Any]) -> None:
    summary, notes = told(experiment(**load))
    assert summary["load"]["ran_out_s"] is None and notes == []
    assert summary["load"]["sessions_live_mean"] == pytest.approx(4)


def test_sessions_that_nobody_follows_are_told_before_the_last_has_ended() -> None:
    summary, (note,) = told(experiment(replace=False, ramp_s=60, duration_s=50))
    assert summary["valid"] and summary["load"]["ran_out_s"] is None
    assert note.startswith("sessions ended and none took their place: ")


@pytest.mark.parametrize(("warmup_s", "count"), [(0, 0), (0.02, 1), (2, 0)])
def test_a_warm_up_that_does_not_wait_for_the_start_is_told(warmup_s: float, count: int) -> None:
    # Four prompts of 10 ms each, computed together: the first token is there after 40 ms.
    _, notes = told(experiment(warmup_s=warmup_s))
    assert len(notes) == count
    assert all("4 of the 4 sessions that start together had no token yet" in note for note in notes)


def test_a_session_with_primers_has_started_when_the_last_of_them_is_served() -> None:
    rows = [replace(ended_row(at_s, 0.1), turn=turn, kind="primer") for turn, at_s in enumerate((1, 2, 30))]
    rows.append(replace(ended_row(90, 0.1), turn=3))
    table = pa.Table.from_batches([batch_of(rows)])
    assert herd_of(table, experiment(agents=1, ramp_s=1), from_s=10) == Herd(
        sessions=1, waiting=1, served_s=30
    )
    assert herd_of(table, experiment(agents=1, ramp_s=1), from_s=40) is None


@pytest.mark.parametrize(
    ("steps", "ran_out_s"),
    [
        ([(0, 1, False), (9, -1, True)], 9.0),
        # Stopped with the run, or lost: nobody knows of an end.
        ([(0, 1, False), (9, -1, False)], None),
        ([(0, 1, False), (9, -1, True), (9, 1, False)], None),
        ([(0, 1, False), (20, -1, True)], None),
        ([], None),
    ],
)
def test_the_load_has_run_out_when_the_last_agent_came_to_its_end(
    steps: list[tuple[float, int, bool]], ran_out_s: float | None
) -> None:
    made = [AgentStep(at_s, change, True, "s000000", finished) for at_s, change, finished in steps]
    asked = experiment(replace=False, duration_s=15)
    assert delivery_of(made, RowTable().table(), asked, from_s=0.0, ended_s=15.0).ran_out_s == ran_out_s


def test_late_times_are_told_in_digits() -> None:
    asked = experiment(replace=False, duration_s=50_000).model_copy(
        update={
            "workload": PromptSetConfig(
                prompts=4, turns=11, think_s=LognormalConfig(median=1234.0, sigma=0.0)
            )
        }
    )
    _, (note,) = told(asked)
    assert "the last session ended at 13,575.3 s" in note
