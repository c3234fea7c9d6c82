"""`swarm export`: a run for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder
from swarm.report.export.junit import junit
from swarm.report.export.openmetrics import openmetrics
from swarm.report.export.tables import write_tables

KINDS = ("csv", "junit", "openmetrics")


def export(paths: Sequence[Path], *, kind: str, out: Path) -> int:
    """Write runs in another form, and print where.

    Raises:
        UsageError: The kind is none of `KINDS`, it takes one run and several are named, or `out` is taken.
    """
    if kind not in KINDS:
        raise UsageError(f"--to {kind}: must be one of {', '.join(KINDS)}")
    folders = [RunFolder.open(path) for path in paths]
    if kind != "junit" and len(folders) > 1:
        raise UsageError(f"--to {kind}: one run is expected, found {len(folders)}")
    if kind == "csv":
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"--out {out}: must be absent or an empty folder")
        write_tables(folders[0], out)
    else:
        if out.is_dir():
            raise UsageError(f"--out {out}: a file is expected, found a folder")
        if kind == "junit":
            content = junit({str(folder.summary()["run_id"]): folder.summary() for folder in folders})
        else:
            content = openmetrics(folders[0])
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(content)
    print(out.absolute(), flush=True)
    return 0
