"""The report at a run's end: last, and never at the cost of the records that are there already."""

from __future__ import annotations

import sys

from swarm.records.run_folder import RunFolder
from swarm.report.run.page import write_report


def draw(folder: RunFolder) -> None:
    """Write a run's page and pictures; what goes wrong is told, and may be tried again."""
    try:
        write_report([folder], folder.path)
    except Exception as fault:  # noqa: BLE001 - whatever a chart trips over, the run is written and counts
        print(
            f"swarm: the report could not be drawn ({type(fault).__name__}: {fault}); the run's records are "
            f"complete: try `swarm report {folder.path}`",
            file=sys.stderr,
        )
