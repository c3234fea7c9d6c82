"""The files of a capture: lines appended, a new file when one is full, the oldest gone when all are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swarm.errors import RunError

PREFIX, SUFFIX = "capture-", ".jsonl"
FILES_LEAST = 4
"""A bound on the folder holds so many files at least: what goes when it is reached is a quarter."""
RETRY_ENTRIES = 100
"""After a disk has refused a line, so many are dropped before it is tried again."""


@dataclass(frozen=True, slots=True)
class BookLimits:
    """How much is written."""

    file_bytes_max: int
    folder_bytes_max: int


class Book:
    """Lines in a folder; `began_unix_s` names this capture's files."""

    def __init__(self, folder: Path, *, began_unix_s: float, limits: BookLimits) -> None:
        self._folder = folder
        self._limits = limits
        began = datetime.fromtimestamp(began_unix_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._name = f"{PREFIX}{began}-{os.getpid()}"
        self._fd: int | None = None
        self._file_bytes = 0
        self._refused = 0
        self.files = 0
        """Begun by this capture."""
        self.lines = 0
        self.bytes = 0
        """Written by this capture."""
        self.lost = 0
        """Lines that the disk did not take."""
        self.removed = 0
        """Files that were removed to keep the folder's bound, of earlier captures as well."""
        self.fault = ""
        """What the disk said when it last refused."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise RunError(f"--out {folder}: cannot be written: {error.strerror or error}") from None

    def would_begin(self, size: int) -> bool:
        """Return whether a line of so many bytes goes into a new file; lines refer to none before it."""
        return self._fd is None or (
            self._file_bytes > 0 and self._file_bytes + size > self._limits.file_bytes_max
        )

    def begin(self) -> None:
        """Begin a new file, and make room for it."""
        self._close()
        try:
            self._make_room()
            self._open()
        except OSError as error:
            self.fault = error.strerror or f"{error}"

    def write(self, line: bytes) -> bool:
        """Append a line whole, or not at all; return whether it is there."""
        if self._refused and self._refused < RETRY_ENTRIES:
            self._refused += 1
            self.lost += 1
            return False
        if self._fd is None:
            self.begin()
        self._refused = 0
        if self._fd is None or not self._append(self._fd, line):
            self._refused = 1
            self.lost += 1
            return False
        return True

    def close(self) -> None:
        """Close the file; one without a line is removed."""
        self._close()

    def _append(self, fd: int, line: bytes) -> bool:
        begun, done = self._file_bytes, 0
        try:
            while done < len(line):
                done += os.write(fd, line[done:])
        except OSError as error:
            self.fault = error.strerror or f"{error}"
            try:
                os.ftruncate(fd, begun)
                os.lseek(fd, begun, os.SEEK_SET)
            except OSError:
                self._close()
            return False
        self._file_bytes += len(line)
        self.bytes += len(line)
        self.lines += 1
        self.fault = ""
        return True

    def _open(self) -> None:
        path = self._folder / f"{self._name}-{self.files + 1:05d}{SUFFIX}"
        # Prompts are not in it, but who asked what and when is.
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.files += 1
        self._file_bytes = 0

    def _close(self) -> None:
        if self._fd is None:
            return
        os.close(self._fd)
        self._fd = None
        if not self._file_bytes:
            (self._folder / f"{self._name}-{self.files:05d}{SUFFIX}").unlink(missing_ok=True)

    def _make_room(self) -> None:
        """Remove the oldest captures until another file fits."""
        found = [
            (stat.st_mtime_ns, path.name, path, stat.st_size)
            for path in self._folder.glob(f"{PREFIX}*{SUFFIX}")
            for stat in [path.stat()]
        ]
        total = sum(size for *_, size in found)
        for _, _, path, size in sorted(found):
            if total + self._limits.file_bytes_max <= self._limits.folder_bytes_max:
                return
            path.unlink(missing_ok=True)
            total -= size
            self.removed += 1
