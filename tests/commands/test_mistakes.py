"""Mistakes that users make with files, paths and options: each a sentence, never a traceback."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swarm import cli
from swarm.records.run_folder import RunFolder
from swarm.workload.formats import FORMATS

ROOFLINE = {"kind": "roofline", "model": "Llama-3.3-70B"}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Return the exit code of the command, as the shell sees it."""
    monkeypatch.setattr(sys, "argv", ["swarm", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def trace(path: Path, *requests: dict[str, Any]) -> Path:
    rows = [{"type": "s", "out": 5, **row} for row in requests]
    path.write_text(json.dumps({"id": path.stem, "block_size": 64, "requests": rows}))
    return path


def experiment(path: Path, **parts: Any) -> Path:
    asked = {"workload": {"kind": "synthetic"}, "load": {"agents": 1, "duration_s": 60}}
    whole = {"name": "t", "charts": [], **asked, **parts}
    path.write_text(json.dumps(whole))
    return path


NOWHERE = {"kind": "replay", "path": "/nowhere", "format": "weka"}


@pytest.mark.parametrize("command", ["run", "simulate"])
def test_a_run_that_does_not_begin_leaves_nothing_that_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    wrong = experiment(tmp_path / "e.json", workload=NOWHERE)
    assert run(monkeypatch, command, wrong, "--out", tmp_path / "a" / "b") == 2
    assert not (tmp_path / "a").exists()
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, command, wrong, "--out", tmp_path / "empty") == 2
    assert (tmp_path / "empty").is_dir()


def test_a_live_run_says_that_it_leaves_a_sweep_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    swept = experiment(tmp_path / "e.json", workload=NOWHERE, sweep={"grid": {"load.agents": [1, 2]}})
    run(monkeypatch, "run", swept, "--out", tmp_path / "out")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"{swept}: its sweep is not run live, only its base point")


def test_what_others_put_into_the_folder_of_a_run_that_did_not_begin_stays(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a" / "b")
    (folder.journals / "coordinator-0.journal").touch()
    (folder.journals / "host-00000-0.journal").write_bytes(b"measured")
    folder.discard_unbegun()
    assert [path.name for path in folder.journals.iterdir()] == ["host-00000-0.journal"]


def test_sessions_of_one_request_have_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trace(tmp_path / "one.json", {"t": 0, "in": 100, "hash_ids": [1]})
    assert run(monkeypatch, "analyze", one, "--out", tmp_path / "out") == 0
    assert "Gap" not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"t": 9, "in": 0}, "no input tokens"),
        ({"t": 9, "in": 128, "hash_ids": [2, 3]}, "prefix-chained"),
        ({"t": 9, "in": 128, "hash_ids": [4, 4]}, "prefix-chained"),
    ],
)
def test_what_cannot_be_played_again_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    second: dict[str, Any],
    reason: str,
) -> None:
    path = trace(tmp_path / "a.json", {"t": 0, "in": 192, "hash_ids": [1, 2, 3]}, second)
    asked = experiment(tmp_path / "e.json", workload={"kind": "replay", "path": str(path)})
    for command in ("validate", "simulate"):
        assert run(monkeypatch, command, asked) == 1
        assert f"{path}: session a, the request at 9 s:" in (said := capsys.readouterr().err)
        assert reason in said and "Traceback" not in said


def test_what_a_replay_leaves_out_is_told_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    trace(traces / "a.json", {"t": 0, "in": 192, "hash_ids": [1, 2, 3]})
    trace(traces / "b.json", {"t": 0, "in": 0})
    for number in range(4):
        (traces / f"broken{number}{'x' * 100}.json").write_text("{ not")
    workload = {"kind": "replay", "path": str(traces), "on_broken": "skip"}
    asked = experiment(tmp_path / "e.json", workload=workload)
    assert run(monkeypatch, "simulate", asked, "--out", tmp_path / "run") == 0
    folder = RunFolder.open(tmp_path / "run")
    note = folder.summary()["notes"][0]
    assert note.startswith("left out 5 broken parts of workload.path: broken0")
    assert note.endswith(" and 2 more") and len(note) < 300
    assert folder.run()["left_out"] == [note]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"fleet": {"cost": ROOFLINE, "replicas": [{"gpu": "H999"}]}}, "H999"),
        ({"fleet": {"tiers": [{"name": name} for name in ("hbm", "dram", "dram")]}}, "may be there once"),
        ({"workload": {"kind": "replay", "path": "nowhere.json"}}, "no such trace file"),
        ({"workload": {"kind": "profile", "path": "nowhere.yaml"}}, "nowhere.yaml"),
        ({"load": {"agents": 1, "duration_s": None}}, "never runs out of sessions"),
        ({"workload": {"kind": "prompt_set", "prompt_tokens": 10**20}}, "prompt_tokens: found 1000"),
        ({"fleet": {"tiers": [{"name": "hbm", "capacity_gib": 1e300}]}}, "less than or equal to"),
        ({"fleet": {"cost": ROOFLINE, "replicas": [{"parallelism": {"tp": 3}}]}}, "tp must divide them"),
        ({"fleet": {"cost": ROOFLINE, "replicas": [{"parallelism": {"tp": 2, "ep": 8}}]}}, "ep must divide"),
    ],
)
def test_what_a_simulation_would_refuse_is_not_called_valid(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parts: dict[str, Any],
    reason: str,
) -> None:
    assert run(monkeypatch, "validate", experiment(tmp_path / "e.json", **parts)) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", "TRACE", "--ttl", "1e13"),
        ("analyze", "TRACE", "--capacity", "1e30"),
        ("analyze", "TRACE", "--json", "DIR"),
        ("analyze", "TRACE", "--out", "TRACE/x"),
        ("convert", "TRACE", "TRACE/x", "--from", "weka", "--to", "weka"),
    ],
)
def test_wrong_options_and_paths_end_with_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    one = trace(tmp_path / "one.json", {"t": 0, "in": 100, "hash_ids": [1]})
    given = [word.replace("TRACE", str(one)).replace("DIR", str(tmp_path)) for word in arguments]
    assert run(monkeypatch, *given) == 2
    assert capsys.readouterr().err.startswith("swarm: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "TRACE", "--out", "MINE"),
        ("generate", "PROFILE", "--out", "MINE"),
        ("convert", "TRACE", "MINE", "--from", "weka", "--to", "weka"),
        ("calibrate", "--target", "http://127.0.0.1:1", "--out", "MINE"),
        ("simulate", "EXPERIMENT", "--out", "MINE"),
        ("analyze", "TRACE", "--out", "MINE"),
    ],
    ids=lambda words: words[0],
)
def test_a_file_that_is_there_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    places = {
        "TRACE": trace(tmp_path / "one.json", {"t": 0, "in": 100, "hash_ids": [1]}),
        "EXPERIMENT": experiment(tmp_path / "e.json"),
        "PROFILE": Path(__file__).parents[2] / "experiments" / "profiles" / "coding-agent.yaml",
        "MINE": mine,
    }
    assert run(monkeypatch, *(places.get(word, word) for word in arguments)) == 2
    assert str(mine) in capsys.readouterr().err
    assert mine.read_text() == "precious"


def test_time_that_stands_still_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trace(tmp_path / "a.json", {"t": 0, "in": 2000, "hash_ids": list(range(31))})
    replay = {"kind": "replay", "path": str(path), "repeat": True, "time_scale": 0}
    asked = experiment(tmp_path / "e.json", workload=replay, fleet={"max_model_len": 1000})
    assert run(monkeypatch, "simulate", asked, "--out", tmp_path / "run") == 1
    assert "virtual time stands still at 0 s" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["analyze", "fit", "convert", "generate", "validate"])
def test_a_name_that_is_too_long_for_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    options = {
        "fit": ["--out", tmp_path / "p.yaml"],
        "convert": [tmp_path / "new", "--from", "weka", "--to", "weka"],
        "generate": ["--out", tmp_path / "new"],
    }
    assert run(monkeypatch, command, tmp_path / ("a" * 300), *options.get(command, [])) == 2
    assert capsys.readouterr().err.endswith("File name too long\n")


def test_what_is_written_may_have_a_name_that_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trace(tmp_path / "one.json", {"t": 0, "in": 100, "hash_ids": [1]})
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed := io.BytesIO(), encoding="utf-8"))
    for command, *options in (
        ("convert", os.fsdecode(b"\xff.jsonl"), "--from", "weka", "--to", "weka"),
        ("analyze", "--json", os.fsdecode(b"\xff.json")),
        ("analyze", "--out", os.fsdecode(b"\xff")),
    ):
        monkeypatch.chdir(tmp_path)
        assert run(monkeypatch, command, one, *options) == 0
    sys.stdout.flush()
    there = os.fsencode(tmp_path)
    lines = printed.getvalue().splitlines()
    assert [*lines[:2], lines[-1]] == [there + b"/" + name for name in (b"\xff.jsonl", b"\xff.json", b"\xff")]


def test_more_tokens_than_can_be_added_up_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"timestamp": 0, "input_length": 1 << 48, "output_length": 0}] * ((1 << 14) + 1)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--format", "mooncake", "--on-broken", "skip", "--json", tmp_path / "a.json")
    assert run(monkeypatch, "analyze", tmp_path / "a.jsonl", *options) == 0
    assert json.loads((tmp_path / "a.json").read_text())["input_tokens"] == 1 << 62
    assert f"session a.jsonl:{len(rows)}: with {1 << 48} tokens" in capsys.readouterr().err


def test_generate_names_every_format_that_it_writes() -> None:
    said = CliRunner().invoke(cli.app, ["generate", "--help"], env={"COLUMNS": "200"}).output
    assert [name for name, entry in FORMATS.items() if entry.write is not None and name not in said] == []


def test_validate_reads_a_trace_as_far_as_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "traces").mkdir()
    trace(tmp_path / "traces" / "a.json", {"t": 0, "in": 192, "hash_ids": [1, 2, 3]})
    trace(tmp_path / "traces" / "b.json", {"t": 0, "in": 0})
    workload: dict[str, Any] = {"kind": "replay", "path": str(tmp_path / "traces")}
    assert run(monkeypatch, "validate", experiment(tmp_path / "e.json", workload=workload)) == 1
    assert "b.json" in capsys.readouterr().err
    workload["sessions_max"] = 1
    assert run(monkeypatch, "validate", experiment(tmp_path / "e.json", workload=workload)) == 0


def test_validate_says_what_tiers_do_and_refuses_what_contradicts_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dram = {"name": "dram", "capacity_gib": 8, "eviction": "fifo", "scope": "rank"}
    asked = experiment(tmp_path / "e.json", fleet={"tiers": [{"name": "hbm"}, dram]})
    assert run(monkeypatch, "validate", asked) == 0
    assert "  tier dram: fifo, write_through, one a rank" in capsys.readouterr().out
    asked = experiment(tmp_path / "e.json", fleet={"tiers": [{"name": "hbm"}, dram | {"watermark": {}}]})
    assert run(monkeypatch, "validate", asked) == 2
    assert "set eviction to 'watermark'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["validate", "run"])
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"urls": ["http://h:99999"]}, "target.urls: 'http://h:99999' has no valid port"),
        ({"urls": ["ftp://h"]}, "is not a base URL"),
        ({"urls": ["http://h"], "api_key_env": "SWARM_NO_SUCH_KEY"}, "SWARM_NO_SUCH_KEY"),
        (
            {"urls": ["https://h"], "ca_file": "/nowhere/ca.pem"},
            "target.ca_file: /nowhere/ca.pem cannot be used",
        ),
        ({"urls": ["http://h"], "tokenizer": "/nowhere/tokenizer.json"}, "target.tokenizer"),
        ({"api_key_env": "SWARM_NO_SUCH_KEY"}, "SWARM_NO_SUCH_KEY"),
        ({"tokenizer": "/nowhere/tokenizer.json"}, "target.tokenizer"),
        (
            {"urls": ["http://h"], "metrics_urls": ["https://h/m"], "ca_file": "/nowhere/ca.pem"},
            "target.ca_file: /nowhere/ca.pem cannot be used",
        ),
        ({"urls": ["http://h"], "headers": {"X-A": "a\r\nb"}}, "holds what a header cannot"),
        ({"headers": {"api-key": "opensesame"}}, "set target.auth: {header: api-key, env: NAME}"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    target: dict[str, Any],
    reason: str,
) -> None:
    arguments = [command, experiment(tmp_path / "e.json", target=target)]
    arguments += ["--out", tmp_path / "out"] if command == "run" else []
    assert run(monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert "opensesame" not in said
    assert not (tmp_path / "out").exists()


def test_validate_refuses_arrivals_that_were_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [{"t": 0, "in": 64, "hash_ids": [1]}]
    (tmp_path / "traces").mkdir()
    for name in ("a", "b"):
        trace(tmp_path / "traces" / f"{name}.json", *asked)
    workload = {"kind": "replay", "path": str(tmp_path / "traces"), "format": "weka"}
    load = {"shape": {"kind": "recorded"}, "duration_s": 60}
    assert run(monkeypatch, "validate", experiment(tmp_path / "e.json", workload=workload, load=load)) == 2
    assert "state no arrivals" in capsys.readouterr().err
