"""One writer for a run folder: the lock is the system's, so a writer that died holds it no longer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.errors import UsageError

LOCK = ".writer.lock"
WRITER = ".writer"
"""Says who has the lock, for the one who finds it taken."""


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Write a folder of journals alone; raises UsageError where another process writes it.

    The lock's file stays: who removes it could take it from one that is about to lock it.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{folder.parent}: another process writes this run ({_told(folder / WRITER)}); "
            "wait for its end, or stop it"
        ) from None
    try:
        with suppress(OSError):  # The lock counts; of a disk that refuses, others tell.
            (folder / WRITER).write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with suppress(OSError):
            (folder / WRITER).unlink(missing_ok=True)
        lock.release()


def _told(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:200]
    except OSError:
        return "it has just begun"
