"""The run folder: the only thing a run leaves, written so that a killed run leaves what it had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet
import yaml

from swarm.config.experiment import Experiment
from swarm.errors import UsageError
from swarm.records.unstored import ASIDE
from swarm.records.writer_lock import LOCK

RUN, REQUESTS, WINDOWS, TIERS, SUMMARY, REPORT = (
    "run.yaml",
    "requests.parquet",
    "windows.parquet",
    "tiers.parquet",
    "summary.json",
    "report.html",
)
OWN = {RUN, REQUESTS, WINDOWS, TIERS, SUMMARY, REPORT, "charts", "journal"}
ROW_GROUP_ROWS = 65_536
"""Rows of a table that are encoded at once, in memory."""


class RunFolder:
    """The files of one run by name; each is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[Path] = []
        """The folders that were made for it, the deepest first."""

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new folder, or take an empty one, or that of a run that its target did not let begin.

        Raises UsageError where it holds anything else.
        """
        if path.exists() and not path.is_dir():
            raise UsageError(f"--out {path}: a folder is expected, found a file")
        if path.is_dir() and _is_unbegun(path):
            _clear(path)
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(f"--out {path}: the folder holds files already; name an absent or empty one")
        folder = cls(path)
        folder._made = [each for each in (path, *path.parents) if not each.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UsageError(f"--out {path}: cannot be made: {fault.strerror}") from None
        return folder

    def discard_unbegun(self) -> None:
        """Remove what was made for a run that did not begin: folders, and journals without a word.

        A run has begun when its `run.yaml` is there. What others put into the folder stays, and so does it.
        """
        if (self.path / RUN).exists():
            return
        for journal in self.path.glob("journal/*.journal"):
            if journal.stat().st_size == 0:
                journal.unlink()
        for name in (LOCK, ASIDE):
            (self.path / "journal" / name).unlink(missing_ok=True)
        for folder in (self.path / "journal", *self._made):
            if folder.is_dir() and any(folder.iterdir()):
                return
            if folder.is_dir():
                folder.rmdir()

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a folder that a run has left."""
        if not (path / SUMMARY).is_file() and any(path.glob("journal/*.journal")):
            raise UsageError(
                f"{path}: this run was cut off and has no {SUMMARY}; go on with it, or add it up, by "
                f"swarm run --resume {path}"
            )
        points = sorted(each.parent for each in path.glob(f"points/*/{SUMMARY}"))
        if not (path / SUMMARY).is_file() and points:
            raise UsageError(
                f"{path}: a sweep of {len(points)} points, whose own page is {path / REPORT}; of its points "
                f"one or several: swarm report {points[0]} ..."
            )
        if not (path / SUMMARY).is_file():
            raise UsageError(f"{path}: not a run folder: it has no {SUMMARY}")
        return cls(path)

    def made(self) -> list[str]:
        """Return the names of the results that are there."""
        return [name for name in (REQUESTS, WINDOWS, SUMMARY, REPORT) if (self.path / name).is_file()]

    @property
    def charts(self) -> Path:
        """The folder of chart pictures, made when first asked for."""
        folder = self.path / "charts"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def journals(self) -> Path:
        """The folder of the hosts' journals, made when first asked for."""
        folder = self.path / "journal"
        folder.mkdir(exist_ok=True)
        return folder

    def write_run(self, experiment: Experiment, facts: dict[str, Any]) -> None:
        """Write `run.yaml`: who ran what, with the experiment in full."""
        data = {**facts, "experiment": experiment.model_dump(mode="json")}
        self._write(RUN, yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode())

    def add_notes(self, notes: list[str]) -> None:
        """Add to `run.yaml` what a reader of the results must know; whoever ends the run tells it."""
        if notes:
            found = self.run()
            data = {**found, "left_out": [*found.get("left_out", ()), *notes]}
            self._write(RUN, yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode())

    def write_requests(self, table: pa.Table) -> None:
        """Write one row for each request."""
        self._write_table(REQUESTS, table)

    def write_windows(self, table: pa.Table) -> None:
        """Write the time series."""
        self._write_table(WINDOWS, table)

    def write_tiers(self, table: pa.Table) -> None:
        """Write the memories over time."""
        self._write_table(TIERS, table)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the run's numbers."""
        self._write(SUMMARY, orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))

    def write_report(self, page: str) -> None:
        """Write the page."""
        self._write(REPORT, page.encode())

    def write_text(self, name: str, text: str) -> None:
        """Write a text beside the results."""
        self._write(name, text.encode())

    def run(self) -> dict[str, Any]:
        """Return what `run.yaml` holds."""
        return _mapping(self.path / RUN, yaml.safe_load)

    def summary(self) -> dict[str, Any]:
        """Return what `summary.json` holds."""
        return _mapping(self.path / SUMMARY, orjson.loads)

    def requests(self, columns: list[str] | None = None, *, coded: Sequence[str] = ()) -> pa.Table:
        """Return the rows, or some of their columns; `coded` ones as dictionaries, each word kept once."""
        return _read_table(self.path / REQUESTS, columns, coded)

    def tiers(self) -> pa.Table | None:
        """Return the memories over time; None where nothing is known of them."""
        return _read_table(self.path / TIERS, None) if (self.path / TIERS).is_file() else None

    def windows(self) -> pa.Table:
        """Return the time series."""
        return _read_table(self.path / WINDOWS, None)

    def _write(self, name: str, data: bytes) -> None:
        """Write beside the name and move: a reader sees the old file or the new one, never half."""
        with self._beside(name) as file:
            file.write(data)

    def _write_table(self, name: str, table: pa.Table) -> None:
        # Opened here: the library takes a name such as `run:1` for a URL.
        with self._beside(name) as file:
            pa.parquet.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP_ROWS)

    @contextmanager
    def _beside(self, name: str) -> Iterator[BinaryIO]:
        """Open a file that takes the name once it is whole; of one that cannot be written nothing is left."""
        beside = self.path / f".{name}.part"
        try:
            with beside.open("wb") as file:
                yield file
            os.replace(beside, self.path / name)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def _is_unbegun(path: Path) -> bool:
    """Return whether a folder is of a run that never began, and holds nothing else."""
    if not (path / RUN).is_file() or not {each.name for each in path.iterdir()} <= OWN:
        return False
    if any(each.stat().st_size for each in path.glob("journal/*.journal")):
        return False
    try:
        return RunFolder(path).run().get("begun") is False
    except UsageError:
        return False


def _clear(path: Path) -> None:
    """Remove what a run that never began has left."""
    for name in (REPORT, SUMMARY, TIERS, WINDOWS, REQUESTS, RUN):
        (path / name).unlink(missing_ok=True)
    for folder in (path / "charts", path / "journal"):
        shutil.rmtree(folder, ignore_errors=True)


def _mapping(path: Path, read: Callable[[bytes], Any]) -> dict[str, Any]:
    """Return what a file of a run folder holds; raises UsageError where it is damaged."""
    try:
        data = read(path.read_bytes())
    except (ValueError, yaml.YAMLError) as fault:
        raise _damaged(path, str(fault)) from None
    if not isinstance(data, dict):
        raise _damaged(path, f"a mapping of keys is expected, found {type(data).__name__}")
    return data


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is damaged: {why.splitlines()[0] if why else 'it cannot be read'}")


def _read_table(path: Path, columns: list[str] | None, coded: Sequence[str] = ()) -> pa.Table:
    with path.open("rb") as file:
        try:
            return pa.parquet.read_table(file, columns=columns, read_dictionary=list(coded) or None)
        except (pa.ArrowException, OSError) as fault:
            # The library raises bare ones for pages that it cannot read.
            if isinstance(fault, OSError) and fault.errno is not None:
                raise
            raise _damaged(path, str(fault)) from None


def simulated_run_id(experiment: Experiment) -> str:
    """Return the id of a simulation: the same for the same configuration and seed, anywhere."""
    canonical = orjson.dumps(experiment.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return f"{experiment.name}-{blake2b(canonical, digest_size=6).hexdigest()}"


def unused(path: Path) -> Path:
    """Return the path, or the first of its numbered siblings that no run has taken."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
