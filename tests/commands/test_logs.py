"""Agents' own logs through the commands: analyzed, converted, fitted, played again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from swarm.cli import app
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
