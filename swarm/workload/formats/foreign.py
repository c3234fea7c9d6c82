"""Files of other tools that hold no trace: whose they are, what they lack, what to do instead.

Knows: how such files begin. Does not know: formats that are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from swarm.workload.formats.files import head_bytes, head_lines

CAPTURE = "record its requests with `swarm capture`"
_DATABASE = b"SQLite format 3\0"
HEAD_LINES = 5


def why_not_read(file: Path) -> str | None:
    """Return in words whose file it is and why it is not read; None where nobody knows it."""
    head = head_bytes(file)
    if head.startswith(_DATABASE):
        return "a database of SQLite that is not OpenCode's (Cursor's is one): it has no counts of requests"
    for value in head_lines(file)[:HEAD_LINES]:
        if why := _of_line(value):
            return why
    return _of_document(file, head)


def _of_line(value: dict[str, Any]) -> str | None:
    keys, message = value.keys(), value.get("message")
    if is_droid(value):
        return f"Droid's session: it counts no tokens; {CAPTURE}"
    if {"role", "message"} == keys and type(message) is dict and "content" in message:
        return f"Cursor's transcript: it has neither times nor counts; {CAPTURE}"
    if {"event", "properties", "user_id", "time"} <= keys:
        return f"Aider's analytics: whole seconds, and no counts of a cache; {CAPTURE}"
    return None


def is_droid(value: dict[str, Any]) -> bool:
    """Return whether a line begins a session of Droid, whose other lines look like pi's."""
    return value.get("type") == "session_start" and {"cwd", "version"} <= value.keys()


def _of_document(file: Path, head: bytes) -> str | None:
    if b'"history"' in head and file.name.endswith(".traj"):
        return f"a trajectory of SWE-agent: it has no times, and totals of a whole run alone; {CAPTURE}"
    if file.name.endswith(".traj.json"):
        return f"a trajectory of mini-swe-agent: it has neither times nor counts; {CAPTURE}"
    return None


def reasons(files: Iterable[Path]) -> dict[str, int]:
    """Return why files are not read, and of how many that holds; those that nobody knows are left out.

    What is no file is not opened: a named pipe would wait for its writer.
    """
    found: dict[str, int] = {}
    for file in files:
        if file.is_file() and (why := why_not_read(file)):
            found[why] = found.get(why, 0) + 1
    return found
