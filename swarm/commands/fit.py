"""`swarm fit`: traces to a profile."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from swarm.commands.broken_traces import handler, tell_others, tell_provenance
from swarm.errors import UsageError
from swarm.report.live.progress import Progress
from swarm.units import counted
from swarm.workload.formats import open_format
from swarm.workload.formats.files import shown_name, sizes
from swarm.workload.formats.output import claim
from swarm.workload.profile.fitted import fit, write_profile
from swarm.workload.profile.generated import generate
from swarm.workload.recorded import RecordedSession

REPORT_SEED = 1


def fit_profile(
    paths: Sequence[Path], *, format: str, on_broken: str, out: Path, report: Path | None, name: str | None
) -> int:
    """Fit a profile on traces, write it, and print where; with a report of how well it fits, if asked."""
    if out.is_dir():
        raise UsageError(f"--out {out}: is a folder; name the profile's file, such as {out / 'profile.yaml'}")
    claim(out)
    if report is not None and report.exists() and (not report.is_dir() or any(report.iterdir())):
        raise UsageError(f"--report {report}: must be absent or an empty folder")
    sessions = read(paths, format=format, on_broken=on_broken)
    profile = fit(sessions, name=shown_name(name or out.stem))
    write_profile(profile, out)
    if report is not None:
        # The charts' library takes longer to import than the traces to read; only a report needs it.
        from swarm.report.fit.page import write_fit_report

        sampled = generate(profile, sessions=len(sessions), seed=REPORT_SEED)
        write_fit_report(report, profile=profile, recorded=sessions, sampled=sampled, seed=REPORT_SEED)
        print(report.absolute(), flush=True)
    print(out.absolute(), flush=True)
    return 0


def read(paths: Sequence[Path], *, format: str, on_broken: str) -> list[RecordedSession]:
    """Return the sessions of traces; a broken part is named, and ends the reading unless skipped."""
    opened = open_format(format)
    handle, _ = handler(on_broken, opened)
    units = opened.units(opened.files(paths, tell_others), tell_others)
    sessions: list[RecordedSession] = []
    with Progress("read", [sum(sizes(unit)) for unit in units], sys.stderr) as progress:
        for unit in units:
            sessions += opened.read_unit(unit, handle)
            progress.step(counted(len(sessions), "session"))
        progress.note("fitting")
    tell_provenance(opened.tallies)
    return sessions
