"""Where converted traces go: files that appear whole or not at all, and what was lost on the way."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from swarm.errors import UsageError
from swarm.workload.formats.files import GZIP, PACKED, PARTIAL, ZSTD

_GZIP_LEVEL = 6
_KEPT_CHARACTERS = 40
"""Of a name, in that of what is being written: a long one would be too long with more around it."""


class Losses:
    """What a format could not hold, counted by kind."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, what: str, count: int = 1) -> None:
        """Count something that was left out or changed."""
        if count:
            self._counts[what] += count

    def lines(self) -> list[str]:
        """Return one line for each kind, the most frequent first."""
        return [f"{count:,} x {what}" for what, count in self._counts.most_common()]


def claim(dest: Path) -> None:
    """Refuse a destination that holds something, or whose name promises what is not written."""
    if dest.name.lower().endswith((ZSTD, *PACKED)):
        raise UsageError(
            f"{dest}: {dest.suffix} files are not written; name one that ends in .gz, or in neither"
        )
    if dest.is_dir():
        if any(dest.iterdir()):
            raise UsageError(f"{dest}: is a folder that is not empty; name a new one")
    elif os.path.lexists(dest):
        raise UsageError(f"{dest}: exists; name a new file")


@contextmanager
def written(dest: Path) -> Iterator[BinaryIO]:
    """Open a file to write, gzipped where its name ends so; it takes its name when it is complete."""
    if dest.is_dir():
        raise UsageError(f"{dest}: is a folder; name a file, such as {dest / 'sessions.jsonl'}")
    partial = _partial(dest, dest.parent)
    with _made(dest.parent), partial.open("xb") as raw:
        try:
            if dest.name.lower().endswith(GZIP):
                # Without a time in the header the same sessions give the same bytes.
                with gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield raw
            raw.close()
            _place(partial, dest)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def written_folder(dest: Path) -> Iterator[Path]:
    """Make a folder to fill; what is in it stands in `dest` when all is complete."""
    existed = dest.is_dir()
    partial = _partial(dest, dest if existed else dest.parent)
    with _made(partial.parent):
        partial.mkdir()
        try:
            yield partial
            if existed:
                _move_up(partial, dest)
            else:
                claim(dest)
                partial.rename(dest)
        except BaseException:
            shutil.rmtree(partial)
            raise


def _move_up(partial: Path, dest: Path) -> None:
    """Move a folder's files to the folder that holds it: an existing one may be a mount or a link."""
    if any(each != partial for each in dest.iterdir()):
        raise UsageError(f"{dest}: is a folder that is no longer empty; name a new one")
    files = sorted(partial.iterdir())
    try:
        for file in files:
            _place(file, dest / file.name)
        partial.rmdir()
    except BaseException:
        for file in files:
            if not file.exists():
                (dest / file.name).unlink(missing_ok=True)
        raise


def _place(file: Path, dest: Path) -> None:
    """Give a file its name; another that comes to have it at that moment stays."""
    claim(dest)
    try:
        os.link(file, dest)
    except FileExistsError:
        claim(dest)
        raise
    except OSError:
        # Not all file systems have hard links.
        file.replace(dest)
    else:
        file.unlink()


def _partial(dest: Path, folder: Path) -> Path:
    return folder / f".{dest.name[:_KEPT_CHARACTERS]}.{os.getpid()}{PARTIAL}"


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; after a failure those that were made and hold nothing are gone."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise


def milliseconds(seconds: float) -> int | float:
    """Return milliseconds, exact to the microsecond, whole where they are."""
    value = round(seconds * 1e3, 3)
    return int(value) if value.is_integer() else value


class Names:
    """A distinct name for each session of a file."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def name(self, session_id: str) -> str:
        """Return the name itself; names that repeat are numbered."""
        return session_id + _number(session_id, "#", self._counts)


class FileNames:
    """A distinct and harmless file name for each session."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def name(self, session_id: str) -> str:
        """Return a name without an ending; ids that repeat are numbered."""
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", session_id).strip("_")[:120] or "session"
        return safe + _number(safe.lower(), "-", self._counts)


def _number(name: str, mark: str, counts: dict[str, int]) -> str:
    """Return what makes a name distinct, and take it; `counts` has for each taken name the last number."""
    count = counts.get(name, 0) + 1
    while count > 1 and f"{name}{mark}{count}" in counts:
        count += 1
    counts[name] = count
    if count == 1:
        return ""
    counts[f"{name}{mark}{count}"] = 1
    return f"{mark}{count}"
