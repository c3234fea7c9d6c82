"""Runs against each other: chance is not called a difference, and a real one is."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.records.run_folder import RunFolder
from swarm.report.compare.comparison import compare, regressions
from swarm.sim.run import simulated

EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "workload": {
        "kind": "synthetic",
        "warm_start": True,
        "idle_cap_s": 20,
        "tool_think_s": {"median": 4, "sigma": 0.5},
    },
    "load": {"agents": 30, "ramp_s": 5, "warmup_s": 20, "duration_s": 140},
    "fleet": {
        "cost": {
            "kind": "simple",
            "prefill_tokens_per_s": 60_000,
            "decode_base_s": 0.004,
            "decode_per_sequence_s": 0.0002,
            "kv_capacity_tokens": 100_000_000,
        },
    },
}


def run(folder: Path, seed: int, **cost: float) -> RunFolder:
    data = {**EXPERIMENT, "seed": seed, "fleet": {"cost": {**EXPERIMENT["fleet"]["cost"], **cost}}}
    ended = simulated(Experiment.model_validate(data))
    made = RunFolder.create(folder)
    made.write_requests(ended.results.rows)
    made.write_summary(ended.summary())
    return made


def test_a_run_differs_in_nothing_from_itself(tmp_path: Path) -> None:
    one = run(tmp_path / "one", 1)
    assert {each.verdict for each in compare(one, one)} <= {"no difference", "undecided"}


def test_another_seed_is_seldom_called_a_difference(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(seed), seed) for seed in range(1, 8)]
    alarms = sum(
        any(each.verdict in ("better", "worse") for each in compare(one, other))
        for one, other in itertools.combinations(runs, 2)
    )
    # 21 pairs at 95 %: more than 4 alarms have a chance of 0.3 %.
    assert alarms <= 4


@pytest.mark.parametrize(
    ("cost", "label"),
    [
        ({"decode_base_s": 0.006}, "Time per output token p50"),
        ({"prefill_tokens_per_s": 15_000}, "TTFT on the wire p50"),
        ({"kv_capacity_tokens": 700_000}, "Hit rate"),
    ],
)
def test_a_slower_fleet_is_a_regression_and_a_faster_one_is_not(
    tmp_path: Path, cost: dict[str, float], label: str
) -> None:
    usual, slow = run(tmp_path / "usual", 1), run(tmp_path / "slow", 2, **cost)
    assert label in [each.label for each in regressions(compare(usual, slow))]
    assert label not in [each.label for each in regressions(compare(slow, usual))]
