"""Sessions of every format become the programs that a replay plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.config.workload import ReplayConfig
from swarm.errors import TraceError
from swarm.workload.formats import FORMATS
from swarm.workload.source import left_out, load_scripts, open_source
from tests.workload.formats.test_broken import VALID


@pytest.mark.parametrize("format", VALID)
def test_any_format_becomes_scripts_with_its_turns(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"trace{FORMATS[format.partition(':')[0]].suffixes[0]}"
    path.write_text("\n".join(json.dumps(value) for value in VALID[format]))
    scripts = load_scripts(ReplayConfig(path=path, format=format), 1, 1).scripts
    turns: list[Any] = [turn for script in scripts for agent in script.agents for turn in agent.turns]
    assert turns and all(turn.length >= 0 and turn.output >= 1 for turn in turns)


def test_a_broken_session_ends_a_replay_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    good, bad = json.dumps(VALID["weka"][0]), '{"id": "b"}'
    (tmp_path / "a.jsonl").write_text(f"{good}\n{bad}\n")
    with pytest.raises(TraceError, match=r"a\.jsonl:2"):
        load_scripts(ReplayConfig(path=tmp_path), 1, 1)
    skipping = ReplayConfig(path=tmp_path, on_broken="skip")
    material = load_scripts(skipping, 1, 1)
    assert open_source(skipping, 1, material).count == 1
    experiment = Experiment(name="replayed", workload=skipping)
    assert left_out(experiment, material) == ["left out 1 broken part of workload.path: a.jsonl:2, session"]
