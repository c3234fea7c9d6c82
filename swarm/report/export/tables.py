"""A run's files as CSV: numbers in full, unknown ones empty, sketches left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from swarm.records.run_folder import RunFolder

REQUESTS, WINDOWS, SUMMARY = "requests.csv", "windows.csv", "summary.csv"


def write_tables(folder: RunFolder, out: Path) -> None:
    """Write the rows, the time series and the summary's figures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    _write(folder.requests(), out / REQUESTS)
    _write(folder.windows(), out / WINDOWS)
    figures = list(figures_of(folder.summary()))
    keys, values = zip(*figures, strict=True) if figures else ((), ())
    _write(pa.table({"key": list(keys), "value": [_text(value) for value in values]}), out / SUMMARY)


def figures_of(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every figure of nested mappings and lists under its dotted key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from figures_of(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from figures_of(inner, f"{key}.{place}")
    else:
        yield key, value


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _write(table: pa.Table, path: Path) -> None:
    flat = [
        field.name
        for field in table.schema
        if not (
            pa.types.is_binary(field.type)
            or pa.types.is_large_binary(field.type)
            or pa.types.is_nested(field.type)
        )
    ]
    # Opened here: the library takes a name such as `run:1` for a URL.
    with path.open("wb") as file:
        pyarrow.csv.write_csv(table.select(flat), file)
