"""`swarm share`: sessions as one may hand them to others, and every name that is left in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from swarm.commands.broken_traces import handler, sessions_of, tell_others, tell_provenance
from swarm.errors import UsageError
from swarm.units import counted
from swarm.workload.formats import open_format, write_sessions
from swarm.workload.shared import Sharing

NAMES_SHOWN_MAX = 200


def share(traces: Sequence[Path], *, format: str, on_broken: str, keep: Sequence[str], out: Path) -> int:
    """Write the sessions without what identifies; tell what that was and what is left, at last the folder."""
    opened = open_format(format)
    handle, _ = handler(on_broken, opened)
    units = opened.units(opened.files(traces, tell_others), tell_others)
    nothing = UsageError("no sessions in these files; is the format right?")
    sharing = Sharing(keep)
    try:
        count, losses = write_sessions(
            sharing.sessions(sessions_of(opened, units, handle, done="shared", nothing=nothing)), out, "weka"
        )
    except OSError as fault:
        raise UsageError(f"{fault.filename or out}: {fault.strerror}") from None
    tell_provenance(opened.tallies)
    for line in losses.lines():
        print(f"swarm: lost: {line}", file=sys.stderr)
    print(f"{counted(count, 'session')}: names, projects, dates and block ids are other ones now")
    for what, number in sharing.replaced.items():
        print(f"  replaced: {counted(number, 'name')} of a {what}")
    names = sorted(name for name in sharing.kept if name)
    print(f"  every name that is left: {', '.join(names[:NAMES_SHOWN_MAX]) or 'none'}")
    print("Lengths, times within a session and which blocks are equal are kept: they are what it is for.")
    print(out.absolute(), flush=True)
    return 0
