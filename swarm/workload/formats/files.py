"""Trace files: which there are, in which order, and their bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from swarm.errors import TraceError, UsageError

OnBroken = Callable[[TraceError], None]
"""Takes a broken part: what it raises ends the reading, otherwise the part is left out."""

_GZIP_MAGIC = b"\x1f\x8b"
_LINE_BYTES_MAX = 1 << 30
"""No line of a trace is longer; a file without line breaks must not fill the memory."""


def trace_files(paths: Iterable[Path], suffixes: Sequence[str]) -> list[Path]:
    """Return the files to read, by file name and then by path; a folder stands for its trace files.

    A file that is named twice, in whatever way, is read once.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for file in path.rglob("*") if _is_trace(file, suffixes)]
            if not inside:
                raise UsageError(f"{path}: a folder without any {' or '.join(suffixes)} file (or .gz of it)")
            for file in inside:
                found.setdefault(file.resolve(), file)
        elif path.is_file():
            found.setdefault(path.resolve(), path)
        else:
            raise UsageError(f"{path}: no such trace file or folder")
    return sorted(found.values(), key=lambda file: (file.name, str(file)))


def _is_trace(file: Path, suffixes: Sequence[str]) -> bool:
    name = file.name.removesuffix(".gz")
    return name.endswith(tuple(suffixes)) and not name.startswith(".") and file.is_file()


def is_lines(file: Path) -> bool:
    """Say whether a file's name promises one JSON value a line."""
    return file.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))


def read_json(file: Path) -> Any:
    """Return the one JSON value of a file."""
    return parse(str(file), "file", read_bytes(file))


def read_bytes(file: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzipped."""
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(str(file), "file", f"cannot be read: {error}") from error


def read_lines(file: Path, on_broken: OnBroken) -> Iterator[tuple[int, Any]]:
    """Yield the JSON value of each line that is not blank, with its number (the first is 1)."""
    for number, line in _lines(file, on_broken):
        if line.strip():
            try:
                value = parse(str(file), f"line {number}", line)
            except TraceError as error:
                on_broken(error)
                continue
            yield number, value


def last_lines(file: Path) -> dict[str, int]:
    """Return for each session id of a file the number of the last line that names it.

    With it a reader need not keep a session until the end of the file. Broken lines are passed over.
    """
    last: dict[str, int] = {}
    for number, line in _lines(file, _pass_over):
        if b'"session_id"' in line or b"\\" in line:
            try:
                name = parse(str(file), f"line {number}", line).get("session_id")
            except (TraceError, AttributeError):
                continue
            if type(name) is str:
                last[name] = number
    return last


def _pass_over(error: TraceError) -> None:
    """Leave an error to the reading that follows."""


def _lines(file: Path, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with file.open("rb") as raw:
            is_gzip = raw.peek(2).startswith(_GZIP_MAGIC)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_gzip else raw
            while line := stream.readline(_LINE_BYTES_MAX):
                number += 1
                if len(line) == _LINE_BYTES_MAX:
                    raise TraceError(str(file), f"line {number}", f"longer than {_LINE_BYTES_MAX} bytes")
                yield number, line
    except (OSError, EOFError, zlib.error) as error:
        on_broken(TraceError(str(file), f"after line {number}", f"cannot be read: {error}"))
    except TraceError as error:
        on_broken(error)


def parse(source: str, place: str, content: bytes) -> Any:
    """Return the JSON value of some bytes."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise TraceError(source, place, f"not JSON: {error}") from error
