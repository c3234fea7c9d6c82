"""How something is going, line by line in a file beside its results: what a page or another terminal reads.

The file is there while a run, a search, a simulation or a sweep goes on, and gone when its results are there.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

COURSE, STOP = "progress.jsonl", ".stop"
LINE_BYTES_MAX = 1 << 16


class Course:
    """The writing end. What is shown never costs what is measured: a disk that refuses a line loses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None

    def tell(self, kind: str, **fields: Any) -> None:
        """Append a line: `begin`, `note`, `level`, `step` or `end`, and what it says."""
        with suppress(OSError):
            if self._file is None:
                self._file = (self._folder / COURSE).open("ab", buffering=0)
                (self._folder / STOP).unlink(missing_ok=True)
            if kind == "begin":
                fields |= {"process": os.getpid(), "machine": socket.gethostname()}
            line = orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_SERIALIZE_NUMPY)
            self._file.write(line[:LINE_BYTES_MAX] + b"\n")

    @property
    def is_stop_asked(self) -> bool:
        """Whether somebody who watches has asked for the end."""
        return self._file is not None and (self._folder / STOP).exists()

    def close(self) -> None:
        """Remove the file: the results say all that it said."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for name in (COURSE, STOP):
            with suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)


class CourseReader:
    """The reading end, in any process that sees the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at = 0
        self._rest = b""

    def read(self) -> list[dict[str, Any]]:
        """Return the lines that were written since the last call; half a line is left for the next."""
        try:
            with (self._folder / COURSE).open("rb") as file:
                file.seek(self._at)
                found = file.read()
        except OSError:
            return []
        self._at += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        return [said for line in lines if isinstance(said := _parsed(line), dict)]

    @property
    def is_there(self) -> bool:
        """Whether something goes on in the folder, or was cut off in it."""
        return (self._folder / COURSE).exists()

    def ask_stop(self) -> bool:
        """Ask the writer to come to an end, as Ctrl-C does; return whether anybody is there to do it."""
        if not self.is_there:
            return False
        descriptor = os.open(self._folder / STOP, os.O_CREAT | os.O_WRONLY, 0o644)
        os.close(descriptor)
        return True


def is_dead(begun: dict[str, Any]) -> bool:
    """Whether the process that wrote a `begin` ran on this machine and is there no longer."""
    process = begun.get("process")
    if not isinstance(process, int) or begun.get("machine") != socket.gethostname():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
