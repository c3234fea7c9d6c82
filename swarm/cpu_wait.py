"""How long this thread was ready to run and had no core."""

from __future__ import annotations

from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")
"""Of the calling thread: nanoseconds on a core, nanoseconds ready without one, turns (Linux, sched-stats)."""


def cpu_wait_s() -> float | None:
    """Return how long this thread has been ready to run and got no core; None where it is not known."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
