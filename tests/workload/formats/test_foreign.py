"""Files of tools that hold no trace are named with what they lack."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from swarm.errors import UsageError
from swarm.workload.formats import open_format, pass_over
from swarm.workload.formats.foreign import reasons

FOREIGN = {
    "x.jsonl": (b'{"role":"user","message":{"content":[{"type":"text","text":"x"}]}}', "Cursor's transcript"),
    "d.jsonl": (
        b'{"type":"session_start","id":"s","cwd":"/p","version":"1"}\n'
        b'{"type":"message","id":"m","parentId":"s","timestamp":"2026-01-01T00:00:00Z","message":{}}',
        "Droid's session",
    ),
    "a.jsonl": (b'{"event":"exit","properties":{},"user_id":"u","time":1}', "Aider's analytics"),
    "s.traj": (b'{"history": [], "trajectory": []}', "a trajectory of SWE-agent"),
    "m.traj.json": (b'[{"role": "system", "content": "x"}]', "a trajectory of mini-swe-agent"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_tool_is_refused_with_what_it_lacks(tmp_path: Path, name: str) -> None:
    content, why = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"is not read: {why}.*swarm capture"):
        opened = open_format("auto")
        opened.units(opened.files([path], pass_over), pass_over)


def test_a_database_of_another_tool_is_refused(tmp_path: Path) -> None:
    made = sqlite3.connect(tmp_path / "state.db")
    made.execute("CREATE TABLE ItemTable (key TEXT, value BLOB)")
    made.close()
    assert list(reasons([tmp_path / "state.db"]).values()) == [1]


def test_files_that_nobody_knows_have_no_reason(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"settings": {}}')
    assert reasons([tmp_path / "x.json"]) == {}


def test_a_named_pipe_beside_traces_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reasons([tmp_path / "pipe"]) == {}
