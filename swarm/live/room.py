"""What the node of this process has to give: cores, files that may be open, memory that is left."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Limits of this process's own container (cgroup v2); absent, or `max`, where it has none."""
MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Room:
    """What one process finds on its node."""

    node: str
    cores: float
    """That it may run on: of the machine, by its affinity, by its container's quota, whichever is least."""
    files_max: int
    """Files, connections among them, that the process may have open."""
    memory_free_bytes: int | None
    """None where it is not known."""


def room_here(node: str) -> Room:
    """Return the room of this process, on a node of that name."""
    return Room(node, _cores(), _files_max(), _memory_free_bytes())


def raise_file_limit() -> None:
    """Let this process open as many files as its administrator allows: each open request is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Some containers refuse what they call their own bound: then it stays as it is, and is told of.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _files_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 62


def _cores() -> float:
    cores = float(len(os.sched_getaffinity(0)))
    quota = _words(CGROUP / "cpu.max")
    if len(quota) == 2 and quota[0] != "max":
        return min(cores, int(quota[0]) / int(quota[1]))
    return cores


def _memory_free_bytes() -> int | None:
    """Return the machine's free memory, or what is left of the container's where that is less."""
    known = [int(words[1]) * 1024 for words in _lines(MEMORY) if words[0] == "MemAvailable:"]
    limit, used = _words(CGROUP / "memory.max"), _words(CGROUP / "memory.current")
    if limit and used and limit[0] != "max":
        known.append(max(0, int(limit[0]) - int(used[0])))
    return min(known, default=None)


def _words(path: Path) -> list[str]:
    return next(_lines(path), [])


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line that has some; none of a file that cannot be read."""
    try:
        text = path.read_text()
    except OSError:
        return
    yield from (line.split() for line in text.splitlines() if line.strip())
