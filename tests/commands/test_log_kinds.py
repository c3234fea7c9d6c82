"""Every command on every kind of log: the totals that were written, in whatever the command makes of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.workload.formats import read_sessions

sys.path.insert(0, str(Path(__file__).parent))
from log_kinds import KINDS, SESSIONS, TURNS, UNTOLD, turns

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "replay.yaml"
INPUTS = sorted(turn.inputs for turn in turns())
OUTPUTS = sum(turn.outputs for turn in turns())
WRITTEN = {
    "weka": "weka",
    "mooncake": "mooncake:block_tokens={block},rows=cumulative",
    "multi_turn": "multi_turn",
    "dag_jsonl": "dag_jsonl",
}


def invoke(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


OFTEN = ("claude_code", "codex", "flat_spans", "capture")
"""Kinds that commands of some seconds are always tried on; the others are for the slow tests."""
SLOWLY = [pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.slow) for kind in KINDS]


def written(kind: str, folder: Path) -> Path:
    KINDS[kind][1](folder / "logs")
    return folder / "logs"


def replay_of(logs: Path) -> list[str]:
    changes = [f"workload.path={logs}", "workload.format=auto", f"load.agents={SESSIONS}"]
    return [str(EXPERIMENT), *(part for change in changes for part in ("--set", change))]


@pytest.mark.parametrize("kind", KINDS)
def test_analyze_counts_what_was_written(kind: str, tmp_path: Path) -> None:
    logs = written(kind, tmp_path)
    found = orjson.loads(invoke("analyze", str(logs), "--json", "-").stdout_bytes)
    assert list(found["provenance"]["sources"]) == [KINDS[kind][0]]
    counted = (found["sessions"], found["requests"], found["input_tokens"], found["output_tokens"])
    assert counted == (SESSIONS, SESSIONS * TURNS, sum(INPUTS), OUTPUTS)
    told = found["recorded"]["read_tokens"] if found["recorded"] else None
    assert told == (None if kind in UNTOLD else sum(turn.read for turn in turns()))


@pytest.mark.parametrize("format", WRITTEN)
@pytest.mark.parametrize("kind", KINDS)
def test_convert_writes_the_same_requests(kind: str, tmp_path: Path, format: str) -> None:
    logs, dest = written(kind, tmp_path), tmp_path / "dest.jsonl"
    invoke("convert", str(logs), str(dest), "--from", "auto", "--to", format)
    states = WRITTEN[format].format(block=16 if kind == "bailian" else 64)
    read = [each for session in read_sessions(dest, states) for each in session.requests()]
    inputs = sorted(each.input_tokens for each in read)
    assert (inputs, sum(each.output_tokens for each in read)) == (INPUTS, OUTPUTS)


@pytest.mark.parametrize("kind", KINDS)
def test_validate_reads_them_as_a_run_does(kind: str, tmp_path: Path) -> None:
    invoke("validate", *replay_of(written(kind, tmp_path)))


@pytest.mark.parametrize("kind", SLOWLY)
def test_fit_and_generate_make_sessions_like_them(kind: str, tmp_path: Path) -> None:
    logs, profile, made = written(kind, tmp_path), tmp_path / "p.yaml", tmp_path / "made"
    invoke("fit", str(logs), "--out", str(profile))
    invoke("generate", str(profile), "--sessions", "2", "--seed", "1", "--out", str(made))
    assert len(list(read_sessions(made, "weka"))) == 2


@pytest.mark.parametrize("kind", SLOWLY)
def test_simulate_plays_them(kind: str, tmp_path: Path) -> None:
    invoke("simulate", *replay_of(written(kind, tmp_path)), "--out", str(tmp_path / "run"))
    summary = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert (summary["requests"]["finished"], summary["valid"]) == (SESSIONS * TURNS, True)
    assert summary["tokens"]["prompt"] == sum(INPUTS)
