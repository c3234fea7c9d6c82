"""What is done with broken parts of traces, and with what is none: named and left out, or the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from swarm.errors import TraceError, UsageError
from swarm.report.live.progress import Progress
from swarm.units import counted
from swarm.workload.formats import Opened, Unit
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.files import OnBroken, shown_name, sizes
from swarm.workload.formats.foreign import reasons
from swarm.workload.recorded import RecordedSession

OTHERS_NAMED_MAX = 5
OTHERS_LOOKED_AT_MAX = 1_000
"""Files beside traces that are opened to say whose they are: a folder may hold any number."""
BROKEN_NAMED_MAX = 10
"""Broken parts of one file that are named, each on its line."""


def handler(policy: str, opened: Opened) -> tuple[OnBroken, list[TraceError]]:
    """Return what takes broken parts under the policy `auto`, `fail` or `skip`, and the list it keeps.

    `auto`: skip parts of agents' own logs, since other programs wrote them and may be writing still; a trace
    that somebody made to be read whole fails.
    """
    broken: list[TraceError] = []
    by_file: Counter[str] = Counter()

    def skip(error: TraceError) -> None:
        broken.append(error)
        by_file[error.path] += 1
        if by_file[error.path] <= BROKEN_NAMED_MAX:
            print(f"swarm: skipped: {error}", file=sys.stderr, flush=True)
        elif by_file[error.path] == BROKEN_NAMED_MAX + 1:
            print(f"swarm: skipped: {error.path}: more parts of this file", file=sys.stderr, flush=True)

    def fail(error: TraceError) -> None:
        reason = f"{error.reason}; --on-broken skip leaves such parts out"
        raise TraceError(error.path, error.place, reason) from error

    def judge(error: TraceError) -> None:
        (skip if opened.is_of_logs(error.path) else fail)(error)

    policies = {"auto": judge, "fail": fail, "skip": skip}
    if policy not in policies:
        raise UsageError(f"--on-broken {policy}: must be one of {', '.join(policies)}")
    return policies[policy], broken


def tell_others(folder: Path, others: list[Path]) -> None:
    """Name on stderr what a folder holds that is not read."""
    names = [shown_name(other.relative_to(folder)) for other in others[:OTHERS_NAMED_MAX]]
    left = len(others) - len(names)
    more = f" and {left} more" if left else ""
    print(f"swarm: not read in {shown_name(folder)}: {', '.join(names)}{more}", file=sys.stderr, flush=True)
    for why, count in reasons(others[:OTHERS_LOOKED_AT_MAX]).items():
        print(f"swarm: {counted(count, 'file')} of these: {why}", file=sys.stderr, flush=True)


def tell_provenance(tallies: Mapping[str, Tally]) -> None:
    """Name on stderr what of agents' logs is inferred, and what they lack."""
    for name, tally in tallies.items():
        for line in tally.lines():
            print(f"swarm: {name}: {line}", file=sys.stderr, flush=True)


def nothing_in(paths: str, tallies: Mapping[str, Tally]) -> UsageError:
    """Return the error that traces hold no requests: as what they were read, and what they lack."""
    told = [
        f"read as {name}"
        + "".join(f"; missing: {count:,} {what}" for what, count in tally.missing.most_common())
        for name, tally in tallies.items()
    ]
    return UsageError(f"no requests in {paths}; {'. '.join(told) or 'is the format right?'}")


def sessions_of(
    opened: Opened, units: Sequence[Unit], handle: OnBroken, *, done: str, nothing: UsageError
) -> Iterator[RecordedSession]:
    """Yield the sessions of files, showing how far it is; raise `nothing` where there is none."""
    count = 0
    with Progress(done, [sum(sizes(unit)) for unit in units], sys.stderr) as progress:
        for unit in units:
            for session in opened.read_unit(unit, handle):
                count += 1
                yield session
            progress.step(counted(count, "session"))
    if not count:
        raise nothing
