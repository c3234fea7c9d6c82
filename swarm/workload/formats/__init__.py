"""Trace formats, one file each: bytes in, recorded sessions out, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from swarm.errors import UsageError
from swarm.workload.formats import weka
from swarm.workload.formats.files import trace_files
from swarm.workload.recorded import RecordedSession


def read_sessions(path: Path, format: str) -> Iterator[RecordedSession]:
    """Yield the sessions of a file or folder, by file name; the first broken place raises TraceError."""
    if format != "weka":
        raise UsageError(f"format {format!r} is unknown; known: weka")
    for file in trace_files([path], weka.SUFFIXES):
        yield from weka.read(file)
