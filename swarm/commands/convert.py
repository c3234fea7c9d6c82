"""`swarm convert`: sessions of one format in, of another out, and what got lost in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from swarm.commands.broken_traces import handler, tell_others, tell_provenance
from swarm.errors import UsageError
from swarm.report.live.progress import Progress
from swarm.units import counted
from swarm.workload.formats import Opened, Unit, open_format, write_sessions
from swarm.workload.formats.files import OnBroken, sizes
from swarm.workload.recorded import RecordedSession


def convert(source: Path, dest: Path, *, from_format: str, to_format: str, on_broken: str) -> int:
    """Convert, tell the losses on stderr and the destination on stdout."""
    handle, _ = handler(on_broken)
    opened = open_format(from_format)
    units = opened.units(opened.files([source], tell_others), tell_others)
    nothing = UsageError(f"{source}: no sessions in it; is the format {from_format!r} right?")
    try:
        _, losses = write_sessions(_sessions(opened, units, handle, nothing), dest, to_format)
    except OSError as fault:
        raise UsageError(f"{fault.filename or dest}: {fault.strerror}") from None
    tell_provenance(opened.tallies)
    for line in losses.lines():
        print(f"swarm: lost: {line}", file=sys.stderr)
    print(dest.absolute(), flush=True)
    return 0


def _sessions(
    opened: Opened, units: list[Unit], handle: OnBroken, nothing: UsageError
) -> Iterator[RecordedSession]:
    """Yield the sessions of files; raise `nothing` where there is none, so that none is written."""
    count = 0
    with Progress("converted", [sum(sizes(unit)) for unit in units], sys.stderr) as progress:
        for unit in units:
            for session in opened.read_unit(unit, handle):
                count += 1
                yield session
            progress.step(counted(count, "session"))
    if not count:
        raise nothing
