"""`swarm analyze` as its users call it, against results of an independent implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swarm.cli import app


def analyze(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    target = tmp_path / "result.json"
    result = CliRunner().invoke(app, ["analyze", *arguments, "--json", str(target)])
    assert result.exit_code == 0, (result.output, result.exception)
    content: dict[str, Any] = json.loads(target.read_bytes())
    return content


@pytest.fixture(scope="module")
def of_agents(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return analyze(tmp_path_factory.mktemp("agents"), str(shared_data / "agent-traces"))


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared_data / "agent-traces-truth.json").read_bytes())
    return content


@pytest.mark.parametrize("key", ["sessions", "requests", "subagents", "input_tokens", "output_tokens"])
def test_counts_of_agent_traces_are_exact(of_agents: dict[str, Any], truth: dict[str, Any], key: str) -> None:
    assert of_agents[key] == truth[key]


@pytest.mark.parametrize("index", range(4))
def test_ttl_results_of_agent_traces_equal_the_truth(
    of_agents: dict[str, Any], truth: dict[str, Any], index: int
) -> None:
    row, expected = of_agents["ttl"][index], truth["ttl"][index]
    digits = {"hit_rate": 8, "reprefill_mean": 6, "working_set_mean_tokens": 4}
    assert {key: round(row[key], digits[key]) if key in digits else row[key] for key in expected} == expected


@pytest.mark.parametrize("index", range(7))
def test_lru_curve_of_agent_traces_equals_the_truth(
    of_agents: dict[str, Any], truth: dict[str, Any], index: int
) -> None:
    row, expected = of_agents["lru"][index], truth["lru"][index]
    assert row | {"hit_rate": round(row["hit_rate"], 8)} == expected


@pytest.mark.parametrize("key", ["think_time_s", "inter_arrival_s", "requests_per_session"])
def test_distributions_of_agent_traces_equal_the_truth(
    of_agents: dict[str, Any], truth: dict[str, Any], key: str
) -> None:
    assert {name: of_agents[key][name] for name in truth[key]} == pytest.approx(truth[key], abs=1e-3)


def test_lru_curve_of_mooncake_equals_the_truth(shared_data: Path, tmp_path: Path) -> None:
    truth = json.loads((shared_data / "mooncake_conversation_truth.json").read_bytes())
    by_blocks = truth["lru_token_hit_rate"]
    sizes = [str(int(blocks) * 512) if blocks != "inf" else "inf" for blocks in by_blocks]
    file = str(shared_data / "mooncake_conversation.jsonl")
    result = analyze(tmp_path, file, "--format", "mooncake", "--capacity", ",".join(sizes))
    rates = [round(row["hit_rate"], 4) for row in result["lru"]]
    assert rates == list(by_blocks.values())
