"""Paths of the command line: `~` expanded, URLs refused where a command writes to this machine alone.

In a Ray job results go to a place that outlives the job.
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from swarm.cluster.job import is_job
from swarm.errors import UsageError
from swarm.urls import is_url

MEMORY = "memory:"
"""URLs of what a process keeps for itself."""
NAME_BYTES_MAX = 255
"""Of a file or folder on Linux and macOS (NAME_MAX)."""
RESULTS = "results"
STAGING = "swarm-results"
"""Below the home folder: where the folder of a job's run lies until it is sent to a URL."""


def local_path(text: str | Path) -> Path:
    """Return a path that a command reads or writes here; raises UsageError for a URL or nothing."""
    place = str(text)
    if not place.strip():
        raise UsageError("a path is expected, found an empty text")
    if "\0" in place:
        raise UsageError("a path is expected, found one with a NUL character")
    if is_url(place):
        raise UsageError(
            f"{place}: a path on this machine is expected, found a URL; copy it from or to there"
        )
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise UsageError(f"{place}: no such user's home folder") from None


def out_path(text: str | Path) -> Path:
    """Return a path on this machine to write to.

    Raises UsageError where nothing can be written there, or where what is written there is lost.
    """
    path = local_path(text)
    _check_lasts(path)
    if str(path) != "-":
        _check_writable(path)
    return path


def out_path_or_url(text: str | Path) -> str:
    """Return a path to write to, as `out_path` does, or a URL as it is."""
    if not is_url(text):
        return str(out_path(text))
    if str(text).startswith(MEMORY):
        raise UsageError(f"{text}: is gone when this command ends; name a place that lasts")
    return str(text)


def default_folder(name: str) -> Path:
    """Return where results of this name go that nobody named a place for; raises UsageError in a job."""
    if is_job(os.environ):
        raise UsageError(f"--out is expected: {_GOES}")
    return Path(RESULTS) / name


def staging_folder(name: str) -> Path:
    """Return where a run folder lies before it is sent to a URL, and stays if that fails."""
    return Path.home() / STAGING / name if is_job(os.environ) else Path(RESULTS) / name


def _check_writable(path: Path) -> None:
    """Refuse a place before any work is done for it: a file that has no name tries the nearest folder."""
    try:
        if path.exists() and not path.is_dir():
            if os.access(path, os.W_OK):
                return
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        near = next(each for each in (path, *path.parents) if os.path.lexists(each))
        # The folders between are made, and so must have names that can be.
        for name in path.absolute().parts:
            if len(os.fsencode(name)) > NAME_BYTES_MAX:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryFile(dir=near):
            pass
    except OSError as fault:
        raise UsageError(f"{path}: cannot be written: {fault.strerror}; name another place") from None


_GOES = (
    "this is a Ray job, whose working folder is deleted after it; name a place that lasts: an absolute path "
    "on the node where the job runs (its head), or a URL (s3://..., gs://..., file:///...)"
)


def _check_lasts(path: Path) -> None:
    # `-` is standard output for some, and in the job's log.
    if is_job(os.environ) and not path.is_absolute() and str(path) != "-":
        raise UsageError(f"--out {path}: {_GOES}")
