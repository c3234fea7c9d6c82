"""Places to write: each name is what it says, or refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm import cli
from swarm.commands.places import local_path, path_or_url
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "e.yaml"
    data = {
        "name": "t",
        "charts": [],
        "workload": {"kind": "synthetic"},
        "load": {"agents": 1, "duration_s": 30},
    }
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("name", ["run:1", "a b", "x#y?z", "s3:bucket"])
def test_a_name_that_looks_like_a_url_is_a_folder(
    experiment: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.parent)
    done = CliRunner().invoke(cli.app, ["simulate", str(experiment), "--out", name])
    assert done.exit_code == 0
    folder = RunFolder.open(experiment.parent / name)
    assert folder.requests().num_rows == folder.summary()["requests"]["sent"]


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/runs/1") == tmp_path / "runs" / "1"
    assert path_or_url("~/runs/1") == str(tmp_path / "runs" / "1")
    assert path_or_url("s3://bucket/runs") == "s3://bucket/runs"


@pytest.mark.parametrize(
    "place", ["s3://bucket/x", "ftp://host/x", "file:///tmp/x", "", "  ", "a\0b", "~nobody-such/x"]
)
def test_what_is_no_place_here_is_refused(place: str) -> None:
    with pytest.raises(UsageError):
        local_path(place)
