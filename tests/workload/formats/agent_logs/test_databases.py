"""OpenCode's database: the same requests as its files, read while it is being written."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import TraceError
from swarm.workload.formats import open_format, pass_over
from swarm.workload.recorded import RecordedSession

TABLES = """
CREATE TABLE session (id text PRIMARY KEY, project_id text NOT NULL, parent_id text, directory text NOT NULL);
CREATE TABLE message (
    id text PRIMARY KEY, session_id text NOT NULL, time_created integer NOT NULL, data text NOT NULL
);
"""


def reply(second: int, read: int) -> dict[str, Any]:
    at_ms = 1_766_803_109_000 + 1000 * second
    return {
        "role": "assistant",
        "modelID": "m",
        "time": {"created": at_ms, "completed": at_ms + 500},
        "tokens": {"input": 4, "output": 7, "reasoning": 2, "cache": {"read": read, "write": 640}},
    }


MESSAGES = {
    "m1": ("s", reply(0, 0)),
    "m2": ("s", {"role": "user", "time": {"created": 1}}),
    "m3": ("sub", reply(5, 0)),
    "m4": ("s", reply(9, 640)),
}


def database(path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(path)
    made.execute("PRAGMA journal_mode=WAL")
    made.executescript(TABLES)
    made.execute("INSERT INTO session VALUES ('s', 'p', NULL, '/home/me')")
    made.execute("INSERT INTO session VALUES ('sub', 'p', 's', '/home/me')")
    for name, (session, data) in MESSAGES.items():
        made.execute("INSERT INTO message VALUES (?, ?, ?, ?)", (name, session, 1, json.dumps(data)))
    made.commit()
    return made


def read(path: Path) -> tuple[list[RecordedSession], list[str]]:
    opened, errors = open_format("auto"), list[TraceError]()
    units = opened.units(opened.files([path], pass_over), pass_over)
    found = [session for unit in units for session in opened.read_unit(unit, errors.append)]
    return found, [f"{error.place}: {error.reason}" for error in errors]


def shape(session: RecordedSession) -> Any:
    requests = [(each.input_tokens, each.read_tokens, each.output_tokens) for each in session.requests()]
    return session.id, session.project, requests, [agent.agent_id for agent in session.subagents()]


EXPECTED = ("s", "/home/me", [(644, 0, 9), (644, 0, 9), (1284, 640, 9)], ["sub"])


def test_a_database_under_its_writer_is_read_with_its_tree(tmp_path: Path) -> None:
    writer = database(tmp_path / "opencode.db")
    found, errors = read(tmp_path)
    writer.close()
    assert ([shape(session) for session in found], errors) == ([EXPECTED], [])


def test_files_from_before_that_the_database_has_as_well_count_once(tmp_path: Path) -> None:
    database(tmp_path / "opencode.db").close()
    folder = tmp_path / "storage" / "message" / "s"
    folder.mkdir(parents=True)
    for name, (session, data) in MESSAGES.items():
        (folder / f"{name}.json").write_text(json.dumps({**data, "id": name, "sessionID": session}))
    found, _ = read(tmp_path)
    assert [shape(session) for session in found] == [EXPECTED]


def test_a_message_that_is_no_json_is_named(tmp_path: Path) -> None:
    made = database(tmp_path / "opencode.db")
    made.execute("UPDATE message SET data = '{' WHERE id = 'm3'")
    made.commit()
    made.close()
    (session,), errors = read(tmp_path)
    assert len(list(session.requests())) == 2
    assert errors[0].startswith("message m3: not JSON")


@pytest.mark.parametrize("keep", [150, 5000])
def test_a_database_that_is_cut_off_is_an_error_and_no_crash(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "opencode.db"
    made = database(path)
    made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    made.close()
    path.write_bytes(path.read_bytes()[:keep])
    opened, errors = open_format("opencode"), list[TraceError]()
    assert list(opened.read(path, errors.append)) == []
    assert len(errors) == 1
