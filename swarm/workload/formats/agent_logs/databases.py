"""OpenCode's database (1.2 and later): its sessions and messages as the values that its files held before.

Knows: its tables. Does not know: what a message means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from swarm.errors import TraceError
from swarm.workload.formats.files import OnBroken, shown_name

MAGIC = b"SQLite format 3\0"
SESSIONS = "SELECT id, parent_id, directory FROM session"
MESSAGES = "SELECT id, session_id, data FROM message ORDER BY time_created, id"


def is_database(file: Path) -> bool:
    """Return whether a file's content is a database of SQLite."""
    try:
        with file.open("rb") as raw:
            return raw.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def is_opencode(file: Path) -> bool:
    """Return whether a database has the tables of OpenCode's."""
    try:
        with closing(_opened(file)) as database:
            database.execute(f"{SESSIONS} LIMIT 0")
            database.execute(f"{MESSAGES} LIMIT 0")
    except sqlite3.Error:
        return False
    return True


def values_of_database(file: Path, on_broken: OnBroken) -> Iterator[tuple[str, Any]]:
    """Yield the sessions, then the messages in their order; nothing is written, nor locked for long."""
    place = "table session"
    try:
        with closing(_opened(file)) as database:
            for name, parent, directory in database.execute(SESSIONS):
                yield f"session {name}", {"id": name, "parentID": parent, "directory": directory}
            place = "table message"
            for name, session, data in database.execute(MESSAGES):
                place = f"message {name}"
                try:
                    value = orjson.loads(data)
                except (orjson.JSONDecodeError, TypeError) as error:
                    on_broken(TraceError(shown_name(file), place, f"not JSON: {error}"))
                    continue
                yield place, {**value, "id": name, "sessionID": session} if type(value) is dict else value
    except (sqlite3.Error, UnicodeDecodeError) as error:
        on_broken(TraceError(shown_name(file), f"after {place}", f"cannot be read: {error}"))


def _opened(file: Path) -> sqlite3.Connection:
    """Return a connection that cannot write; without its log of changes if the folder refuses."""
    name = f"file:{quote(str(file.absolute()))}?mode=ro"
    database = sqlite3.connect(name, uri=True)
    try:
        database.execute("SELECT 1 FROM sqlite_schema LIMIT 1")
    except sqlite3.OperationalError:
        database.close()
        return sqlite3.connect(f"{name}&immutable=1", uri=True)
    return database
