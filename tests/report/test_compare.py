"""Runs against each other: chance is not called a difference, and a real one is."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable
from swarm.records.run_folder import RunFolder
from swarm.report.compare.alikeness import caveats
from swarm.report.compare.comparison import compare, regressions
from swarm.report.compare.told import told
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


def made(folder: Path, rows: list[RequestRow], **summary: Any) -> RunFolder:
    """Return a run folder of rows that are given."""
    table = RowTable()
    table.extend(rows)
    run = RunFolder.create(folder)
    run.write_requests(table.table())
    measured = {"measured": {"from_s": 0.0, "to_s": 100.0}, "mode": "live", "invalid_reasons": []}
    run.write_summary({**measured, **summary})
    return run


def requests(count: int, ttft_s: Callable[[int], float], *, failed: int = 0) -> list[RequestRow]:
    """Return requests of ten sessions over 100 s, the last `failed` of which failed."""
    found = []
    for k in range(count):
        at_s = 100.0 * k / count
        values: dict[str, Any] = {
            name: None if "None" in str(kind) else {"str": "", "bool": True}.get(str(kind), 0)
            for name, kind in RequestRow.__annotations__.items()
        }
        values |= {"session": f"s{k % 10}", "outcome": "ok", "intended_s": at_s, "sent_s": at_s}
        values |= {"first_token_s": at_s + ttft_s(k), "completed_s": at_s + 5.0, "output_tokens": 1}
        if k % 7 < 7 * failed / count:
            values |= {"outcome": "failed", "first_token_s": None}
        found.append(RequestRow(**values))
    return found


def verdicts(before: RunFolder, after: RunFolder) -> dict[str, str]:
    return {each.label: each.verdict for each in compare(before, after)}


def test_seven_requests_are_too_few_to_be_compared(tmp_path: Path) -> None:
    one = made(tmp_path / "one", requests(7, lambda k: 0.1 + k / 100))
    other = made(tmp_path / "other", requests(7, lambda k: 1.0 + k / 100))
    assert set(verdicts(one, other).values()) == {"too few"}


def test_values_without_spread_do_not_tell_chance_from_a_difference(tmp_path: Path) -> None:
    one = made(tmp_path / "one", requests(200, lambda k: 0.1))
    other = made(tmp_path / "other", requests(200, lambda k: 0.100001))
    found = verdicts(one, other)
    assert found["TTFT on the wire p50"] == "undecided"
    assert found["Requests"] == "no difference"


def test_more_failures_are_worse_and_the_rest_is_told_as_such(tmp_path: Path) -> None:
    one = made(tmp_path / "one", requests(700, lambda k: 1.0 + k % 11 / 100))
    other = made(tmp_path / "other", requests(700, lambda k: 0.1 + k % 11 / 100, failed=400))
    found = verdicts(one, other)
    assert found["Failed requests"] == "worse"
    assert found["TTFT on the wire p50"] == "better, of those that finished"
    assert "Failed requests" in [each.label for each in regressions(compare(one, other))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"seed": 2}, None),
        ({"load": {"agents": 3}}, "different things: load.agents (2, 3)"),
        ({"fleet": {"max_model_len": 9}}, "fleet.max_model_len (none, 9)"),
        ({"target": {"urls": ["http://a:1"]}}, "target.urls ([], ['http://a:1'])"),
        ({"workload": {"kind": "prompt_set"}}, "workload (synthetic, prompt_set)"),
    ],
)
def test_runs_of_different_things_are_told(
    tmp_path: Path, changes: dict[str, Any], words: str | None
) -> None:
    asked: dict[str, Any] = {"name": "t", "workload": {"kind": "synthetic"}, "load": {"agents": 2}}
    runs = []
    for name, parts in (("one", asked), ("other", {**asked, **changes})):
        runs.append(made(tmp_path / name, requests(7, lambda k: 0.1)))
        runs[-1].write_run(Experiment.model_validate(parts), {})
    found = caveats(*runs)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_an_invalid_run_and_one_of_another_mode_are_told(tmp_path: Path) -> None:
    one = made(tmp_path / "one", requests(7, lambda k: 0.1), invalid_reasons=["it was late"])
    other = made(tmp_path / "other", requests(7, lambda k: 0.1), mode="simulate")
    invalid, modes = caveats(one, other)
    assert invalid == "one is invalid, do not use its numbers: it was late"
    assert modes == "one run is measured and one emulated: one is measured and other is emulated"


def test_what_is_worse_is_told_first_and_noise_as_noise(sample_run: RunFolder, other_run: RunFolder) -> None:
    said = [each.text for each in told(compare(sample_run, other_run))]
    assert said[0].startswith("worse in ") and "TTFT on the wire p50 (" in said[0]
    assert any(text.startswith("no difference beyond the noise in ") for text in said)


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
