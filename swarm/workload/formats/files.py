"""Trace files: which there are, in which order, and their bytes."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from swarm.errors import TraceError, UsageError

OnBroken = Callable[[TraceError], None]
"""Takes a broken part: what it raises ends the reading, otherwise the part is left out."""

OnOther = Callable[[Path, list[Path]], None]
"""Takes a folder, and what it holds beside traces."""

GZIP = ".gz"
ZSTD = ".zst"
PACKED = (".xz", ".bz2", ".zip")
"""Endings of packers whose files are known for what they are, and not read."""
PARTIAL = ".partial"
"""Ending of files and folders that are being written; with a dot in front, they are no traces yet."""
_GZIP_MAGIC = b"\x1f\x8b"
_MAGICS = {b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2", b"PK\x03\x04": "zip"}
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PARQUET_MAGIC = b"PAR1"
_MAGIC_BYTES = 6
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEAD_BYTES = 1 << 18
_PIECE_BYTES = 1 << 10
HEAD_LINES = 40
"""Of a file, as much as is looked at to tell what it is."""
WHOLE_BYTES_MAX = 1 << 30
"""Of a file that is no lines, and that is held as a whole."""
_LINE_BYTES_MAX = 1 << 30
"""No line of a trace is longer; a file without line breaks must not fill the memory."""


def trace_files(paths: Iterable[Path], suffixes: Sequence[str], on_other: OnOther) -> list[Path]:
    """Return the files to read, by file name and then by path; a folder stands for its trace files.

    A file that is named twice, in whatever way, is read once. What a folder holds besides goes to `on_other`.
    """
    found: dict[str, Path] = {}
    for named in paths:
        # A quoted path, or one of a file, is no shell's to expand.
        path = named.expanduser() if str(named).startswith("~") and not named.exists() else named
        if path.is_dir():
            for file in _of_folder(path, suffixes, on_other):
                found.setdefault(os.path.realpath(file), file)
        elif path.is_file():
            found.setdefault(os.path.realpath(path), path)
        else:
            raise UsageError(f"{path}: no such trace file or folder")
    return sorted(found.values(), key=lambda file: (file.name, str(file)))


def _of_folder(folder: Path, suffixes: Sequence[str], on_other: OnOther) -> list[Path]:
    inside: list[Path] = []
    others: list[Path] = []
    for file in _inside(folder):
        (inside if _is_trace(file, suffixes) else others).append(file)
    if not inside:
        raise UsageError(f"{folder}: a folder without any {' or '.join(suffixes)} file (or .gz of it)")
    if others:
        on_other(folder, others)
    return inside


def _inside(folder: Path) -> Iterator[Path]:
    """Yield what a folder and those in it hold, each folder once; links to folders are followed.

    A link to a folder that holds `folder` itself is yielded: what lies beside it was not asked for.
    """
    top = os.path.realpath(folder)
    entered: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_stop, followlinks=True):
        real = os.path.realpath(place)
        holds_top = real != top and top.startswith(os.path.join(real, ""))
        if holds_top:
            yield Path(place)
        if holds_top or real in entered:
            folders.clear()
            continue
        entered.add(real)
        unfinished = {each for each in folders if each.startswith(".") and each.endswith(PARTIAL)}
        folders[:] = sorted(set(folders) - unfinished)
        yield from (Path(place, name) for name in sorted([*names, *unfinished]))


def _stop(error: OSError) -> None:
    """End at a folder that cannot be listed."""
    raise error


def _is_trace(file: Path, suffixes: Sequence[str]) -> bool:
    """Say whether a file of a folder is to be read; a link that leads nowhere is, and fails then."""
    if file.name.startswith(".") or not _plain_name(file).endswith(tuple(suffixes)):
        return False
    return file.is_file() or (file.is_symlink() and not file.exists())


def _plain_name(file: Path) -> str:
    """Return a file's name in lower case, without the ending of a packer."""
    name = file.name.lower()
    packed = next((ending for ending in (GZIP, ZSTD, *PACKED) if name.endswith(ending)), "")
    return name.removesuffix(packed)


def shown_name(file: Path | str) -> str:
    """Return a path as text on one line: bytes that are no UTF-8, and what is not printable, are escaped."""
    text = os.fsencode(file).decode(errors="backslashreplace")
    escaped = (each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return "".join(escaped)


def is_lines(file: Path) -> bool:
    """Say whether a file's name promises one JSON value a line."""
    return _plain_name(file).endswith((".jsonl", ".ndjson"))


def sizes(files: Iterable[Path]) -> list[int]:
    """Return the files' bytes; 0 for what cannot be looked at, which reading tells of."""
    return [file.stat().st_size if file.exists() else 0 for file in files]


def read_json(file: Path) -> Any:
    """Return the one JSON value of a file."""
    return parse(shown_name(file), "file", read_bytes(file))


def read_bytes(file: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzipped."""
    try:
        with file.open("rb") as raw:
            head = raw.peek(_MAGIC_BYTES)
            _check_packing(file, head)
            content = _unpacked(raw, head).read(WHOLE_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(shown_name(file), "file", f"cannot be read: {error}") from error
    if len(content) > WHOLE_BYTES_MAX:
        reason = f"longer than {WHOLE_BYTES_MAX} bytes, and not one value a line; write a value a line"
        raise TraceError(shown_name(file), "file", reason)
    return content


def _unpacked(raw: BinaryIO, head: bytes) -> BinaryIO:
    """Return the content of a file as a stream."""
    if head.startswith(_GZIP_MAGIC):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if head.startswith(_ZSTD_MAGIC):
        # It takes long to import, and few files need it.
        import pyarrow as pa

        return cast(BinaryIO, BufferedReader(pa.CompressedInputStream(raw, "zstd")))
    return raw


def _check_packing(file: Path, head: bytes) -> None:
    for magic, packer in _MAGICS.items():
        if head.startswith(magic):
            reason = f"is packed with {packer}, which is not read; unpack it, or pack it with gzip"
            raise TraceError(shown_name(file), "file", reason)


def read_lines(file: Path, on_broken: OnBroken, on_cut: OnBroken | None = None) -> Iterator[tuple[int, Any]]:
    """Yield the JSON value of each line that is not blank, with its number (the first is 1).

    A line that is no JSON goes to `on_cut` if that is given: a last one is still being written, one before it
    was cut off when its writer ended.
    """
    source = shown_name(file)
    for number, line in _lines(file, on_broken):
        if line.strip():
            try:
                value = parse(source, f"line {number}", line)
            except TraceError as error:
                (on_cut or on_broken)(error)
                continue
            yield number, value


def head_lines(file: Path) -> list[dict[str, Any]]:
    """Return the objects among a file's first lines, as far as its first `HEAD_BYTES` hold them whole."""
    found = []
    for line in head_bytes(file).split(b"\n")[:HEAD_LINES]:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if type(value) is dict:
            found.append(value)
    return found


def head_bytes(file: Path) -> bytes:
    """Return the first bytes of a file's content; nothing where they cannot be read."""
    found: list[bytes] = []
    try:
        with file.open("rb") as raw:
            stream = _unpacked(raw, raw.peek(_MAGIC_BYTES))
            # In pieces: a packed file that is cut off has a beginning all the same.
            piece_bytes = HEAD_BYTES if stream is raw else _PIECE_BYTES
            while piece_bytes * len(found) < HEAD_BYTES and (piece := stream.read(piece_bytes)):
                found.append(piece)
    except (OSError, EOFError, zlib.error):
        pass
    return b"".join(found).removeprefix(_BYTE_ORDER_MARK)


def is_parquet(file: Path) -> bool:
    """Return whether a file's content is rows of Parquet."""
    try:
        with file.open("rb") as raw:
            return raw.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    except OSError:
        return False


def is_packed_otherwise(file: Path) -> bool:
    """Return whether a file is packed in a way that is not read."""
    try:
        with file.open("rb") as raw:
            return raw.read(_MAGIC_BYTES).startswith(tuple(_MAGICS))
    except OSError:
        return True


def last_lines(file: Path) -> dict[str, int]:
    """Return for each session id of a file the number of the last line that names it.

    With it a reader need not keep a session until the end of the file. Broken lines are passed over.
    """
    last: dict[str, int] = {}
    for number, line in _lines(file, _pass_over):
        if b'"session_id"' in line or b"\\" in line:
            try:
                name = parse("", "", line).get("session_id")
            except (TraceError, AttributeError):
                continue
            if type(name) is str:
                last[name] = number
    return last


def first_matches(file: Path, pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    """Yield the first group of the first match in each line of a file that has one."""
    for _, line in _lines(file, _pass_over):
        found = pattern.search(line)
        if found is not None:
            yield found[1]


def _pass_over(error: TraceError) -> None:
    """Leave an error to the reading that follows."""


def _lines(file: Path, on_broken: OnBroken) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with file.open("rb") as raw:
            head = raw.peek(_MAGIC_BYTES)
            _check_packing(file, head)
            stream = _unpacked(raw, head)
            while line := stream.readline(_LINE_BYTES_MAX):
                number += 1
                if number == 1:
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                if len(line) == _LINE_BYTES_MAX:
                    reason = f"longer than {_LINE_BYTES_MAX} bytes"
                    raise TraceError(shown_name(file), f"line {number}", reason)
                yield number, line
    except (OSError, EOFError, zlib.error) as error:
        on_broken(TraceError(shown_name(file), f"after line {number}", f"cannot be read: {error}"))
    except TraceError as error:
        on_broken(error)


def parse(source: str, place: str, content: bytes) -> Any:
    """Return the JSON value of some bytes."""
    try:
        return orjson.loads(content.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        raise TraceError(source, place, f"not JSON: {error}") from error
