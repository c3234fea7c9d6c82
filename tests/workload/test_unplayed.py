"""What of a recording a replay plays otherwise, and that it says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.errors import ConfigError
from swarm.sim.run import simulate
from swarm.workload.source import left_out, load_scripts

START_MS = 1_788_000_000_000


def experiment(folder: Path, **more: Any) -> Experiment:
    """Return a replay of three lone requests, 10 and 25 s after the first, which came at Unix time."""
    rows = [
        {"timestamp": START_MS + at_ms, "input_length": 512 * tokens, "output_length": 9, "hash_ids": ids}
        for at_ms, tokens, ids in ((0, 2, [1, 2]), (10_000, 1, [1]), (25_000, 2, [1, 3]))
    ]
    path = folder / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    workload = {"kind": "replay", "path": str(path), "format": "mooncake", "order": "file"}
    data = {"name": "replayed", "workload": workload, "load": {"duration_s": None}, "fleet": FLEET}
    for key, value in more.items():
        data[key] = {**data.get(key, {}), **value}  # type: ignore[dict-item]
    return validate(Experiment, data, "test")


COST = {
    "kind": "simple",
    "prefill_tokens_per_s": 1e6,
    "decode_base_s": 0.01,
    "decode_per_sequence_s": 0.0,
    "kv_bytes_per_token": 1000,
    "kv_capacity_tokens": 100_000,
}
FLEET: dict[str, Any] = {"cost": COST, "replicas": [{"count": 1}]}


def notes(replayed: Experiment) -> list[str]:
    return left_out(replayed, load_scripts(replayed.workload, replayed.seed, replayed.load.agents))


def intended_s(replayed: Experiment) -> list[float]:
    results = simulate(replayed, load_scripts(replayed.workload, replayed.seed, replayed.load.agents))
    return sorted(results.rows.column("intended_s").to_pylist())


@pytest.mark.parametrize(("scale", "expected"), [(1.0, [0.0, 10.0, 25.0]), (0.2, [0.0, 2.0, 5.0])])
def test_sessions_start_when_they_were_recorded_to(
    tmp_path: Path, scale: float, expected: list[float]
) -> None:
    replayed = experiment(tmp_path, load={"shape": {"kind": "recorded"}}, workload={"time_scale": scale})
    assert intended_s(replayed) == pytest.approx(expected)
    assert notes(replayed) == []


def test_arrivals_that_the_load_replaces_are_noted(tmp_path: Path) -> None:
    (note,) = notes(experiment(tmp_path, load={"agents": 3}))
    assert "the 3 sessions were recorded to start over 25 s, and here start as load says" in note


def test_sessions_that_arrive_after_the_end_are_noted(tmp_path: Path) -> None:
    replayed = experiment(tmp_path, load={"shape": {"kind": "recorded"}, "duration_s": 9.5})
    (note,) = notes(replayed)
    assert note.startswith(
        "2 of 3 recorded sessions would arrive after load.duration_s: 9.5 and are not played"
    )
    assert intended_s(replayed) == [0.0]


def test_requests_beyond_the_models_length_are_noted(tmp_path: Path) -> None:
    replayed = experiment(tmp_path, load={"shape": {"kind": "recorded"}}, fleet={"max_model_len": 1000})
    (note,) = notes(replayed)
    assert note.startswith("2 of 3 recorded requests are longer than fleet.max_model_len: 1,000")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"workload": {"repeat": True}}, "each session arrives once: remove workload.repeat"),
        ({"workload": {"start": "random"}}, "workload.start: random is another start"),
    ],
)
def test_settings_that_contradict_recorded_arrivals_are_refused(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        experiment(tmp_path, load={"shape": {"kind": "recorded"}}, **more)
