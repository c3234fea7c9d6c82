"""`swarm generate`: a profile to traces."""

from __future__ import annotations

import sys
from pathlib import Path

from swarm.config.read import read_profile
from swarm.errors import UsageError
from swarm.workload.formats import write_sessions
from swarm.workload.formats.output import claim
from swarm.workload.profile.generated import generate

SESSIONS_MAX = 1_000_000
LINES = "sessions.jsonl"
"""The one file of a format that has a request a line."""


def generate_traces(path: Path, *, sessions: int, seed: int, out: Path, format: str) -> int:
    """Write sampled sessions in a format, and print where."""
    if not 1 <= sessions <= SESSIONS_MAX:
        raise UsageError(f"--sessions {sessions}: must be from 1 to {SESSIONS_MAX}")
    profile = read_profile(path)
    is_lines = format.partition(":")[0] != "weka"
    if is_lines:
        claim(out)
    try:
        sampled = generate(profile, sessions=sessions, seed=seed)
        _, losses = write_sessions(sampled, out / LINES if is_lines else out, format)
    except OSError as fault:
        raise UsageError(f"--out {out}: cannot be written: {fault.strerror}") from None
    for line in losses.lines():
        print(f"swarm: {format} cannot hold: {line}", file=sys.stderr)
    print(out.absolute(), flush=True)
    return 0
