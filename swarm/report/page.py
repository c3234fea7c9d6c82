"""`report.html`: one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swarm.measure.store import RunFolder


def write_report(folders: Sequence[RunFolder], out: Path) -> Path:
    """Write the page of one run, or of several side by side, into a folder; return its path."""
    summary = folders[0].summary()
    path = out / "report.html"
    path.write_text(f"<!doctype html><title>{summary['experiment']}</title>", encoding="utf-8")
    return path
