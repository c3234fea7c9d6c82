"""Paths of the command line: `~` expanded, and URLs refused where a command writes to this machine alone."""

from __future__ import annotations

from pathlib import Path

from swarm.errors import UsageError
from swarm.urls import is_url


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


def path_or_url(text: str | Path) -> str:
    """Return a path with `~` expanded, or a URL as it is."""
    return str(text) if is_url(text) else str(local_path(text))
