"""`swarm report`: run folders read again, drawn again, held against each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder
from swarm.report.compare.comparison import compare, regressions
from swarm.report.run.page import write_report
from swarm.report.run.terminal import show_differences, show_summary

EXIT_REGRESSED = 99


def report(paths: Sequence[Path], *, out: Path | None, fails_on_regression: bool) -> int:
    """Redraw one run, or compare the first with each of the others; return the exit code.

    The page of one run goes into its own folder, that of several needs `--out`, or goes beside the first.
    """
    folders = [RunFolder.open(path) for path in paths]
    if fails_on_regression and len(folders) < 2:
        raise UsageError("--fail-on-regression: two runs are needed, RUN and the one it is held against")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: a folder is expected, found a file")
    where = out
    if where is None:
        where = folders[0].path if len(folders) == 1 else Path("results") / _name(folders)
    worse = []
    if len(folders) == 1:
        show_summary(folders[0].summary())
    for other in folders[1:]:
        found = compare(folders[0], other)
        show_differences(found, before=folders[0].path.name, after=other.path.name)
        worse += regressions(found)
    print(write_report(folders, where), file=sys.stdout, flush=True)
    return EXIT_REGRESSED if fails_on_regression and worse else 0


def _name(folders: Sequence[RunFolder]) -> str:
    return "compare-" + "-".join(folder.path.resolve().name for folder in folders)[:100]
