"""The command that asks how many agents there may be: its words, its bounds, its whole way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from swarm.commands.capacity import Question, capacity_of_fleet, longer_told, objective_of
from swarm.commands.costs import Budget, bounded, check_budget
from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.config.target import TargetConfig
from swarm.errors import ConfigError, RunError, UsageError
from swarm.load.search_words import found as in_words
from swarm.measure.summary import summarize
from swarm.report.run.capacity import advice, sentence
from swarm.sim.run import simulated

FLEET = FleetConfig.model_validate(
    {
        "name": "small",
        "max_model_len": 32_768,
        "cost": {
            "kind": "simple",
            "prefill_tokens_per_s": 8_000,
            "decode_base_s": 0.02,
            "decode_per_sequence_s": 0.002,
            "kv_capacity_tokens": 400_000,
        },
    }
)


def question(*slo: str, minutes: float = 3.0) -> Question:
    return Question(tuple(map(objective_of, slo)), None, minutes, 64, 1, Budget(None, False))


@pytest.mark.parametrize(
    ("text", "name", "bound"),
    [
        ("effective_ttft_s p95 <= 2", "effective_ttft_s p95", 2.0),
        (" tpot_s p99.5<=80ms ", "tpot_s p99.5", 0.08),
        ("output_tokens_per_s p10 >= 20", "output_tokens_per_s p10", 20.0),
    ],
)
def test_an_objective_is_read_as_it_is_said(text: str, name: str, bound: float) -> None:
    objective = objective_of(text)
    assert (objective.name, objective.bound) == (name, pytest.approx(bound))


@pytest.mark.parametrize(
    ("text", "kind"), [("ttft 2", UsageError), ("tttft_s p95 <= 2", ConfigError), ("p95 <= 2", UsageError)]
)
def test_an_objective_that_is_none_is_refused(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="--slo"):
        objective_of(text)


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://10.1.2.3:8000", False),
        ("http://[::1]:8000", False),
        ("https://8.8.8.8", True),
    ],
)
def test_a_public_server_needs_a_bound(url: str, is_refused: bool) -> None:
    target = TargetConfig(urls=(url,))
    if is_refused:
        with pytest.raises(UsageError, match="--tokens-max"):
            check_budget(target, bounded(None, None, None, agreed=False), "capacity")
    check_budget(target, bounded(None, None, None, agreed=not is_refused or True), "capacity")
    check_budget(target, bounded(1_000, None, None, agreed=False), "capacity")


def test_a_cost_needs_prices() -> None:
    with pytest.raises(UsageError, match="--prices"):
        bounded(None, 3.0, None, agreed=False)


@pytest.mark.parametrize("slo", ["tpot_s p95 <= 0.001", "ttft_s p95 <= 0.001"])
def test_an_slo_that_requests_alone_miss_is_refused(slo: str) -> None:
    with pytest.raises(RunError, match="no number of agents can hold it"):
        capacity_of_fleet(FLEET, question(slo), None)


def test_an_slo_that_longer_prompts_than_the_workloads_would_miss_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A look sends 2,048 tokens, here a second; prompts of 200 take a tenth of it."""
    workload = {"kind": "prompt_set", "prompt_tokens": 200, "turns": 20, "output_tokens": 8}
    file = tmp_path / "short.yaml"
    file.write_text(yaml.safe_dump({"name": "short", "workload": {**workload, "think_s": 1.0}}))
    fleet = FLEET.model_copy(update={"cost": SimpleCostConfig(prefill_tokens_per_s=2_048)})
    asked = replace(question("ttft_s p90 <= 0.5"), workload=str(file))
    assert capacity_of_fleet(fleet, asked, tmp_path / "run") == 0
    assert "It carries" in capsys.readouterr().err


def test_a_fleet_is_asked_from_its_file_to_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code = capacity_of_fleet(FLEET, question("effective_ttft_s p95 <= 2", "tpot_s p95 <= 0.1"), out)
    told = capsys.readouterr()
    capacity = json.loads((out / "summary.json").read_text())["capacity"]
    assert code == 0
    assert 1 <= capacity["agents_low"] <= (capacity["agents_high"] or 10**6)
    assert told.out.splitlines()[-1] == str(out)
    assert "It carries" in told.err
    assert "within effective_ttft_s p95 <= 2 and tpot_s p95 <= 0.1" in told.err
    kept = Experiment.model_validate(yaml.safe_load((out / "experiment.yaml").read_text()))
    ran = yaml.safe_load((out / "run.yaml").read_text())["experiment"]
    assert kept == Experiment.model_validate(ran)


SEARCHED = Experiment.model_validate(
    {
        "name": "asked-again",
        "workload": {
            "kind": "prompt_set",
            "prompt_tokens": 512,
            "turns": 20,
            "output_tokens": 24,
            "new_share": 1.0,
            "think_s": {"median": 1.0, "sigma": 0.3},
        },
        "slo": [{"metric": "ttft_s", "quantile": 0.9, "at_most": 0.5}],
        "load": {
            "duration_s": 60,
            "search": {
                "agents_from": 4,
                "agents_max": 16,
                "answer": "curve",
                "hold_min_s": 6,
                "hold_max_s": 6,
            },
        },
    }
)

LONGER = [
    (0.5, "50% longer", (8_000 / 1.5, 0.03, 0.003)),
    (-0.2, "20% less", (10_000, 0.016, 0.0016)),
]
"""The share, its words, and the fleet that takes as long: prefill, a decode step, a sequence in it."""


@pytest.mark.parametrize(("longer", "words", "rates"), LONGER)
def test_a_search_answers_for_steps_as_long_as_calibration_saw_them(
    longer: float, words: str, rates: tuple[float, float, float]
) -> None:
    names = ("prefill_tokens_per_s", "decode_base_s", "decode_per_sequence_s")
    asked, twin = (
        SEARCHED.model_copy(
            update={"fleet": FLEET.model_copy(update={"cost": FLEET.cost.model_copy(update=changes)})}
        )
        for changes in ({"steps_longer": longer}, dict(zip(names, rates, strict=True)))
    )
    run = simulated(twin)
    answer = summarize(run.results.rows, facts=run.facts, totals=run.results.totals)["capacity"]
    [line] = longer_told(asked)
    assert words in line
    assert line.endswith(f": {in_words(answer)}")


def test_a_fleet_whose_steps_took_no_longer_is_searched_once() -> None:
    assert longer_told(SEARCHED.model_copy(update={"fleet": FLEET})) == []


def answer(**changes: object) -> dict[str, object]:
    level = {"requests": 400}
    return {
        "agents_low": 34,
        "agents_high": 47,
        "confidence": 0.9,
        "bound_by": "prefill",
        "limiting_objective": "effective_ttft_s p95",
        "within": ["effective_ttft_s p95 <= 2", "tpot_s p95 <= 0.1"],
        "levels": [level],
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "It carries 34 to 47 agents within effective_ttft_s p95 <= 2 and tpot_s p95 <= 0.1"),
        ({"agents_high": None, "bound_by": None}, "It carries at least 34 agents within"),
        ({"agents_low": 0, "agents_high": 2}, "It carries 2 agents at most within"),
        ({"agents_low": 1, "agents_high": 1}, "It carries 1 agent within"),
    ],
)
def test_an_answer_is_a_sentence(changes: dict[str, object], said: str) -> None:
    assert sentence(answer(**changes)).startswith(said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"levels": [{"requests": 12}]}, "only 12 requests"),
        ({"agents_high": None}, "no level was missed"),
        ({"agents_low": 10}, "the interval is wide"),
    ],
)
def test_what_to_do_for_a_better_answer_is_said(changes: dict[str, object], said: str | None) -> None:
    found = advice(answer(**changes))
    assert found is None if said is None else said in (found or "")
