"""A Ray job's surroundings: what lies in its working folder goes with it, and a stop leaves it little time.

Ray is not imported: commands that do without it ask here too.
"""

from __future__ import annotations

from collections.abc import Mapping

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the entrypoint of a job, and for nothing else."""
STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
"""Whole seconds between the SIGTERM and the SIGKILL of `ray job stop`, as set where Ray was started."""
STOP_WAIT_S = 3
ENDING_S = 2.25
"""What of them is kept for what follows the drain: the last reports, rows and summary."""


def is_job(environment: Mapping[str, str]) -> bool:
    """Return whether this process is the entrypoint of a Ray job."""
    return JOB in environment


def stop_drain_s(environment: Mapping[str, str]) -> float | None:
    """Return how long requests in flight may go on after a signal; None where nothing hurries."""
    if not is_job(environment):
        return None
    text = environment.get(STOP_WAIT, "")
    return max(0.0, (int(text) if text.isdigit() else STOP_WAIT_S) - ENDING_S)
