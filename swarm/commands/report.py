"""`swarm report`: run folders read again, drawn again, held against each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from swarm.commands.places import default_folder
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder
from swarm.report.compare.alikeness import caveats, is_one_mode, unusable
from swarm.report.compare.comparison import compare, regressions
from swarm.report.run.page import write_report
from swarm.report.run.terminal import show_differences, show_summary

EXIT_DONE, EXIT_FAILED, EXIT_REGRESSED = 0, 1, 99


def report(paths: Sequence[Path], *, out: Path | None, fails_on_regression: bool) -> int:
    """Redraw one run, or compare the first with each of the others; return the exit code.

    With `fails_on_regression` it is 99 where a figure is worse beyond noise, and 1 where a run is invalid.

    The page of one run goes into its own folder, that of several needs `--out`, or goes beside the first.
    """
    folders = [RunFolder.open(path) for path in paths]
    if fails_on_regression and len(folders) < 2:
        raise UsageError("--fail-on-regression: two runs are needed, RUN and the one it is held against")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: a folder is expected, found a file")
    where = out
    if where is None:
        where = folders[0].path if len(folders) == 1 else default_folder(_name(folders))
    base = folders[0]
    if fails_on_regression:
        for other in folders[1:]:
            if not is_one_mode(base, other):
                raise UsageError(
                    f"--fail-on-regression: one of {base.path} and {other.path} is measured, one emulated: "
                    "they differ for other reasons than a regression"
                )
    worse = []
    if len(folders) == 1:
        show_summary(base.summary())
    for other in folders[1:]:
        found = compare(base, other, others=len(folders) - 1)
        show_differences(found, caveats(base, other), before=base.path.name, after=other.path.name)
        worse += regressions(found)
    print(write_report(folders, where).absolute(), file=sys.stdout, flush=True)
    if not fails_on_regression:
        return EXIT_DONE
    if unusable(folders):
        print("swarm: --fail-on-regression: no verdict from runs that are invalid", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_REGRESSED if worse else EXIT_DONE


def _name(folders: Sequence[RunFolder]) -> str:
    return "compare-" + "-".join(folder.path.resolve().name for folder in folders)[:100]
