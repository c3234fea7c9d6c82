"""The JSON values of a file in whatever shape it has them, and times in whatever unit.

A value a line, one value over many lines, several one after the other, a list of them, rows of Parquet, or a
database of OpenCode's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.databases import is_database, values_of_database
from swarm.workload.formats.fields import TOKENS_MAX, shown
from swarm.workload.formats.files import OnBroken, head_lines, is_parquet, read_bytes, read_lines, shown_name

UNIT_FLOORS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))
"""From where on a Unix time is one in nano-, micro- or milliseconds: seconds were beyond the year 5000."""
MS_MAX = 1e10
_ROWS_AT_ONCE = 1024


def values_of(file: Path, on_broken: OnBroken) -> Iterator[tuple[str, Any]]:
    """Yield a file's values, each with its place; a list's members stand for themselves."""
    if is_database(file):
        yield from values_of_database(file, on_broken)
        return
    if is_parquet(file):
        yield from _parquet_rows(file, on_broken)
        return
    if head_lines(file):
        for number, value in read_lines(file, on_broken):
            yield from _members(f"line {number}", value)
        return
    try:
        content = read_bytes(file).removeprefix(b"\xef\xbb\xbf").decode()
    except (TraceError, UnicodeDecodeError) as error:
        on_broken(TraceError(shown_name(file), "file", str(error)))
        return
    decoder, at, number = json.JSONDecoder(), 0, 0
    while at < len(content):
        while at < len(content) and content[at] in " \t\r\n,":
            at += 1
        if at == len(content):
            return
        number += 1
        try:
            value, at = decoder.raw_decode(content, at)
        except (ValueError, RecursionError) as error:
            on_broken(TraceError(shown_name(file), f"value {number}", f"not JSON: {error}"))
            return
        yield from _members(f"value {number}", value)


def _members(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) is not list:
        yield place, value
        return
    for number, member in enumerate(value, 1):
        yield f"{place}, member {number}", member


def _parquet_rows(file: Path, on_broken: OnBroken) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (OSError, pa.ArrowException) as error:
        on_broken(TraceError(shown_name(file), f"after row {number}", f"cannot be read: {error}"))


def time_s(value: Any, name: str) -> float | None:
    """Return Unix seconds of an ISO time (UTC where it names no zone) or of a number in any unit."""
    if value is None or value == "":
        return None
    if type(value) is datetime:
        return _seconds_of(value)
    if type(value) is str and not value.lstrip("-").replace(".", "", 1).isdigit():
        try:
            return _seconds_of(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            raise ValueError(
                f"{name}: must be a time of ISO 8601 or a Unix time, got {shown(value)}"
            ) from None
    try:
        number = float(value) if type(value) in (int, float, str) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= 1e20:
        raise ValueError(f"{name}: must be a time of ISO 8601 or a Unix time, got {shown(value)}")
    return next(number / factor for floor, factor in UNIT_FLOORS if number >= floor)


def _seconds_of(moment: datetime) -> float:
    at_s = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    if at_s < 0:
        raise ValueError("before 1970")
    return at_s


def took_s(value: Any) -> float | None:
    """Return seconds of a duration in milliseconds; None where it is none."""
    if type(value) not in (int, float) or not 0 <= value < MS_MAX:
        return None
    return float(value) / 1000


def tokens(value: Any, name: str) -> int | None:
    """Return a count of tokens; None where it is absent."""
    if value is None:
        return None
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= TOKENS_MAX:
        raise ValueError(f"{name}: must be an integer from 0 to {TOKENS_MAX}, got {shown(value)}")
    return value


def first_of(source: Any, *names: str) -> Any:
    """Return the first of these fields that an object has, and that is not null."""
    if type(source) is dict:
        for name in names:
            if source.get(name) is not None:
                return source[name]
    return None


def inside(source: Any, *names: str) -> Any:
    """Return what lies at a path of fields; a text on the way is read as JSON."""
    for name in names:
        source = as_json(source)
        source = source.get(name) if type(source) is dict else None
    return as_json(source)


def as_json(value: Any) -> Any:
    """Return a text that holds an object or a list as that; anything else as it is."""
    if type(value) is str and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def text(source: Any, *names: str) -> str:
    """Return the first of these fields that is a text with something in it."""
    if type(source) is dict:
        for name in names:
            if type(source.get(name)) is str and source[name]:
                return str(source[name])
    return ""
