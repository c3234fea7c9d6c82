"""`swarm convert`: sessions of one format in, of another out, and what got lost in words."""

from __future__ import annotations

import sys
from pathlib import Path

from swarm.commands.broken_traces import handler, sessions_of, tell_others, tell_provenance
from swarm.errors import UsageError
from swarm.workload.formats import open_format, write_sessions


def convert(source: Path, dest: Path, *, from_format: str, to_format: str, on_broken: str) -> int:
    """Convert, tell the losses on stderr and the destination on stdout."""
    opened = open_format(from_format)
    handle, _ = handler(on_broken, opened)
    units = opened.units(opened.files([source], tell_others), tell_others)
    nothing = UsageError(f"{source}: no sessions in it; is the format {from_format!r} right?")
    try:
        _, losses = write_sessions(
            sessions_of(opened, units, handle, done="converted", nothing=nothing), dest, to_format
        )
    except OSError as fault:
        raise UsageError(f"{fault.filename or dest}: {fault.strerror}") from None
    tell_provenance(opened.tallies)
    for line in losses.lines():
        print(f"swarm: lost: {line}", file=sys.stderr)
    print(dest.absolute(), flush=True)
    return 0
