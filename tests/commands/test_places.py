"""Places to write: each name is what it says, or refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm import cli
from swarm.cluster.job import JOB, STOP_WAIT, stop_drain_s
from swarm.commands.places import local_path, out_path, out_path_or_url, staging_folder
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
    assert out_path_or_url("~/runs/1") == str(tmp_path / "runs" / "1")
    assert out_path_or_url("s3://bucket/runs") == "s3://bucket/runs"


@pytest.mark.parametrize(
    "place", ["s3://bucket/x", "ftp://host/x", "file:///tmp/x", "", "  ", "a\0b", "~nobody-such/x"]
)
def test_what_is_no_place_here_is_refused(place: str) -> None:
    with pytest.raises(UsageError):
        local_path(place)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/dev/full/run", "Not a directory"),
        ("/proc/none/run", "No such file"),
        ("file/run", "Not a directory"),
        ("loop/run", "symbolic links"),
        ("x" * 300, "name too long"),
        (f"new/{'x' * 300}/run", "name too long"),
    ],
)
def test_a_place_that_nothing_can_be_written_at_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for accepts in (out_path, out_path_or_url):
        with pytest.raises(UsageError, match=why):
            accepts(place)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "loop"]


COMMANDS = (
    ["run", "e.yaml", "--out"],
    ["simulate", "e.yaml", "--out"],
    ["calibrate", "--target", "http://h", "--out"],
    ["capacity", "--target", "http://h", "--out"],
    ["init", "--target", "http://h", "--out"],
    ["analyze", "t.json", "--json"],
    ["analyze", "t.json", "--out"],
    ["fit", "t.json", "--out"],
    ["fit", "t.json", "--out", "p.yaml", "--report"],
    ["generate", "p.yaml", "--out"],
    ["report", "run", "--out"],
    ["convert", "t.json", "--from", "weka", "--to", "weka"],
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_that_writes_looks_at_the_place_first(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli.app, [*arguments, "/dev/full/x"])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith("/dev/full/x: cannot be written: Not a directory")


def test_results_are_not_sent_to_what_ends_with_the_command() -> None:
    with pytest.raises(UsageError, match="gone when this command ends"):
        out_path_or_url("memory://runs/1")


@pytest.mark.parametrize("arguments", [[], ["--out", "runs/1"]])
@pytest.mark.parametrize("command", ["run", "simulate"])
def test_a_job_must_say_where_results_last(
    experiment: Path, command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.parent)
    monkeypatch.setenv(JOB, "{}")
    before = sorted(experiment.parent.rglob("*"))
    done = CliRunner().invoke(cli.app, [command, str(experiment), *arguments])
    assert isinstance(done.exception, UsageError)
    assert "this is a Ray job" in str(done.exception)
    assert sorted(experiment.parent.rglob("*")) == before


def test_a_job_that_sends_its_folder_keeps_it_outside_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert staging_folder("r-1") == Path("results/r-1")
    monkeypatch.setenv(JOB, "{}")
    assert staging_folder("r-1") == tmp_path / "swarm-results" / "r-1"


def test_a_job_may_write_to_an_absolute_path_or_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOB, "{}")
    assert [out_path_or_url(place) for place in (tmp_path, "s3://b/1")] == [str(tmp_path), "s3://b/1"]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({JOB: "{}"}, 0.75),
        ({JOB: "{}", STOP_WAIT: "30"}, 27.75),
        ({JOB: "{}", STOP_WAIT: "1"}, 0.0),
    ],
)
def test_a_stopped_job_drains_within_what_ray_leaves_it(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert stop_drain_s(environment) == seconds
