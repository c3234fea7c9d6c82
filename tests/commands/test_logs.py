"""Agents' own logs through the commands: analyzed, converted, fitted, played again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.errors import TraceError, UsageError
from swarm.workload.formats import read_sessions

TURNS = 12


def log(folder: Path, session: int) -> None:
    """Write a log of turns that each read all that the one before had read and written."""
    lines: list[dict[str, Any]] = []
    held = 12_800
    for turn in range(TURNS):
        second = turn * 20 + session
        at = f"2026-03-01T10:{second // 60:02d}:{second % 60:02d}"
        usage = {
            "input_tokens": 3,
            "cache_read_input_tokens": held,
            "cache_creation_input_tokens": 640,
            "output_tokens": 90,
        }
        held += 640
        person = {"role": "user", "content": "words"}
        reply = {"id": f"m{session}-{turn}", "model": "m", "content": [], "usage": usage, "stop_reason": "x"}
        lines += [
            {
                "type": "user",
                "uuid": f"u{turn}",
                "parentUuid": f"a{turn - 1}",
                "timestamp": f"{at}.0Z",
                "message": person,
            },
            {
                "type": "assistant",
                "uuid": f"a{turn}",
                "parentUuid": f"u{turn}",
                "timestamp": f"{at}.9Z",
                "message": reply,
            },
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"s{session}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """Return a folder of two projects with five sessions each."""
    for session in range(10):
        log(tmp_path / ".claude" / "projects" / f"-home-me-{session % 2}", session)
    return tmp_path / ".claude" / "projects"


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_analyze_tells_what_was_recorded_and_where_it_comes_from(projects: Path) -> None:
    found = orjson.loads(invoke("analyze", str(projects), "--json", "-").stdout_bytes)
    read = 10 * sum(12_800 + 640 * turn for turn in range(TURNS))
    recorded, told = found["recorded"], found["provenance"]
    assert (recorded["requests"], recorded["read_tokens"], recorded["written_tokens"]) == (
        120,
        read,
        120 * 640,
    )
    assert recorded["written_by_ttl"] == [{"ttl_s": 300.0, "tokens": 120 * 640}]
    assert [(row["project"], row["sessions"]) for row in recorded["by_project"]] == [
        ("-home-me-0", 5),
        ("-home-me-1", 5),
    ]
    assert told["identity"] == {"pairs": 110, "exact": 110, "share": 1.0}
    assert told["read"] == {"requests": 120} and list(told["sources"]) == ["claude_code"]


def test_the_answer_begins_with_hit_rate_and_costs_and_ends_with_where_it_stays(
    projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(projects.parent.parent))
    shown = invoke("analyze", "~/.claude/projects").stdout
    assert "Hit rate 96." in shown.splitlines()[1]
    assert "5 min" in shown.splitlines()[3] and "60 min" in shown.splitlines()[3]
    assert "Nothing of this leaves the machine" in shown.splitlines()[-1]


def test_the_page_says_the_same(projects: Path, tmp_path: Path) -> None:
    invoke("analyze", str(projects), "--out", str(tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text()
    parts = (
        "Hit rate 96.",
        "Nothing of this leaves the machine",
        "Where the figures of claude_code come from",
    )
    assert [part in page for part in parts] == [True] * 3


@pytest.mark.parametrize("format", ["weka", "mooncake"])
def test_convert_writes_what_reads_as_the_same_requests(projects: Path, tmp_path: Path, format: str) -> None:
    dest = tmp_path / "dest.jsonl"
    result = invoke("convert", str(projects), str(dest), "--from", "auto", "--to", format)
    assert "identity: 110 of 110 reads" in result.stderr
    states = {"weka": "weka", "mooncake": "mooncake:block_tokens=64,rows=cumulative"}
    tokens = [
        sorted(each.input_tokens for session in read_sessions(path, name) for each in session.requests())
        for path, name in ((projects, "auto"), (dest, states[format]))
    ]
    assert tokens[0] == tokens[1]


def test_fit_and_generate_make_sessions_like_them(projects: Path, tmp_path: Path) -> None:
    profile, made = tmp_path / "p.yaml", tmp_path / "made"
    assert "identity:" in invoke("fit", str(projects), "--out", str(profile)).stderr
    invoke("generate", str(profile), "--sessions", "3", "--seed", "1", "--out", str(made))
    assert len(list(read_sessions(made, "weka"))) == 3


def test_simulate_plays_them_again(projects: Path, tmp_path: Path) -> None:
    experiment = Path(__file__).parents[2] / "experiments" / "replay.yaml"
    changes = [f"workload.path={projects}", "workload.format=auto", "load.agents=10"]
    options = [part for change in changes for part in ("--set", change)]
    invoke("simulate", str(experiment), *options, "--out", str(tmp_path / "run"))
    summary = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert (summary["requests"]["finished"], summary["valid"]) == (120, True)


BROKEN = {
    "cut.jsonl": b'{"type":"assistant","uuid":"a","mess',
    "binary.jsonl": bytes(range(256)),
    "empty.jsonl": b"",
    "count.jsonl": orjson.dumps(
        {
            "type": "assistant",
            "uuid": "a",
            "timestamp": "2026-03-01T10:00:00Z",
            "message": {"id": "x", "usage": {"input_tokens": -1}},
        }
    ),
    "time.jsonl": b'{"type":"user","uuid":"u","timestamp":"yesterday","message":{}}',
    "list.jsonl": b'[1, 2]\n{"type":"user","uuid":"u"}\nnull',
    "packed.jsonl.gz": b"\x1f\x8b\x08\x00 cut off",
    "zip.json": b"PK\x03\x04 a zip",
}


def test_broken_parts_of_logs_are_told_and_what_is_left_is_analyzed(projects: Path) -> None:
    for name, content in BROKEN.items():
        (projects / "-home-me-0" / name).write_bytes(content)
    (projects / "-home-me-0" / "gone.jsonl").symlink_to("/nowhere")
    result = invoke("analyze", str(projects))
    said = result.stderr
    assert result.exit_code == 0
    assert "10 sessions, 120 requests" in result.stdout
    assert "left out" in result.stdout.splitlines()[1]
    assert [name in said for name in ("count.jsonl", "time.jsonl", "packed.jsonl.gz", "zip.json")] == [
        True
    ] * 4


@pytest.mark.parametrize("name", ["count.jsonl", "time.jsonl"])
def test_a_broken_part_of_logs_ends_the_command_where_that_is_asked(
    projects: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (projects / "-home-me-0" / name).write_bytes(BROKEN[name])
    with pytest.raises(TraceError, match=name):
        invoke("analyze", str(projects), "--on-broken", "fail")


def test_logs_of_which_nothing_is_left_are_no_answer(tmp_path: Path) -> None:
    for name in ("count.jsonl", "time.jsonl"):
        (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(UsageError, match="no requests in 2 files; read as claude_code"):
        invoke("analyze", str(tmp_path))


def test_broken_parts_of_logs_are_left_out_of_a_replay_and_noted(projects: Path, tmp_path: Path) -> None:
    for name in ("count.jsonl", "time.jsonl"):
        (projects / "-home-me-0" / name).write_bytes(BROKEN[name])
    (projects / "sessions-index.json").write_text("{}")
    experiment = Path(__file__).parents[2] / "experiments" / "replay.yaml"
    replay = [
        "--set",
        f"workload.path={projects}",
        "--set",
        "workload.format=auto",
        "--set",
        "load.agents=10",
    ]
    invoke("simulate", str(experiment), *replay, "--out", str(tmp_path / "run"))
    summary = orjson.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert (summary["requests"]["finished"], summary["valid"]) == (120, True)
    assert any("left out 3 broken parts of workload.path" in note for note in summary["notes"])
    with pytest.raises(TraceError, match="on_broken: skip leaves such parts out"):
        invoke("validate", str(experiment), *replay, "--set", "workload.on_broken=fail")


def test_a_broken_trace_still_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"timestamp": 1, "input_length": -1, "hash_ids": [1]}')
    with pytest.raises(TraceError, match="--on-broken skip leaves such parts out"):
        invoke("analyze", str(tmp_path / "x.jsonl"))


def test_what_says_of_which_kind_a_sub_agent_is_counts_as_read(projects: Path) -> None:
    folder = projects / "-home-me-0" / "s0" / "subagents"
    log(folder, 99)
    (folder / "s99.jsonl").rename(folder / "agent-1.jsonl")
    (folder / "agent-1.meta.json").write_text('{"agentType": "explorer"}')
    (projects / "sessions-index.json").write_text("{}")
    result = invoke("analyze", str(projects), "--json", "-")
    assert "meta.json" not in result.stderr
    assert result.stderr.count("not read in") == 1
    assert "explorer" in {row["kind"] for row in orjson.loads(result.stdout_bytes)["recorded"]["by_kind"]}
