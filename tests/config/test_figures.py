"""The figures that a sweep may name are the numbers that simulated runs show, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from swarm.commands.simulate import simulate_into
from swarm.config.experiment import Experiment
from swarm.config.figures import FIGURES, Figure
from swarm.config.sweep import EconomicsConfig
from swarm.hit_names import TierName
from swarm.records.run_folder import RunFolder
from swarm.report.sweep.points import derived

SAY_NOTHING_OF_A_RUN = {"schema", "seed"}
PRICES = {"input_per_mtok": 1.0, "output_per_mtok": 5.0}
OBJECTIVE = {"metric": "effective_ttft_s", "quantile": 0.9, "at_most": 20.0}
SHOW_ALL = (
    {
        "fleet": {
            "tiers": [{"name": name, "capacity_gib": 100} for name in get_args(TierName)],
            "provider": {"prices": PRICES, "cache_ttl_s": 300, "input_tokens_per_minute": 2e6},
        },
        "slo": [OBJECTIVE],
    },
    {
        "load": {"search": {"agents_from": 1, "agents_max": 4, "hold_min_s": 120, "hold_max_s": 480}},
        "slo": [{**OBJECTIVE, "at_most": 0.001}],
    },
    {
        "fleet": {"provider": {"input_tokens_per_minute": 30_000}},
        "target": {"retry": {"retry_after_max_s": 1}, "api": "messages"},
    },
    {"fleet": {"max_model_len": 1}},
    {
        "workload": {"kind": "prompt_set", "prompts": 2, "prompt_tokens": 64, "turns": 3},
        "load": {"agents": 2, "replace": False, "duration_s": 600},
    },
)


def shown(folder: Path, parts: dict[str, Any]) -> set[str]:
    whole: dict[str, Any] = {
        "name": "t",
        "workload": {"kind": "synthetic", "warm_start": True, "idle_cap_s": 5},
        "load": {"agents": 4, "ramp_s": 0, "duration_s": 120},
    }
    experiment = Experiment.model_validate({**whole, **parts})
    summary = simulate_into(experiment, RunFolder.create(folder), {})
    economics = EconomicsConfig.model_validate({"gpu_hour": 1, "prices": PRICES})
    return set(numbers({**summary, **derived(experiment, summary, economics)}))


def numbers(values: Mapping[str, Any], lead: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{lead}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{lead}{key}"


def leaves(names: Mapping[str, Any], lead: str = "") -> Iterator[str]:
    for key, below in names.items():
        yield from [f"{lead}{key}"] if below is None else leaves(below, f"{lead}{key}.")


def test_figures_are_the_numbers_of_simulated_runs(tmp_path: Path) -> None:
    found = set[str]().union(*(shown(tmp_path / str(at), parts) for at, parts in enumerate(SHOW_ALL)))
    assert found - SAY_NOTHING_OF_A_RUN == set(leaves(FIGURES))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("throughput.output_tokens_per_sec", "throughput has requests_per_s, prompt_tokens_per_s, output_to"),
        ("cache.lost_to", "cache.lost_to has block_rounding, in_flight"),
        ("hit_rate", "begin with duration_s"),
        ("duration_s.p50", "duration_s is a figure, with nothing below it"),
        ("slo.met", "slo has goodput_ratio"),
    ],
)
def test_an_unknown_figure_is_told_what_there_is(name: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(Figure).validate_python(name)
