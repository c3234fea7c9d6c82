"""`windows.parquet`: the cells of a run as a table, one row for each window, and for each part of it.

A row with neither host nor endpoint is the whole run's window; rows with one of them are that part's, and
exist only where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from swarm.measure.window import CHANGES, COUNTS, LEVELS, SKETCHES, Cell, Windows

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WINDOWS_MAX = 200_000
"""Windows in the table; a longer run needs a longer `window_s`."""

BATCH_RECORDS = 1024

SCHEMA = pa.schema(
    [
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("host", pa.int32()),
        pa.field("endpoint", pa.string()),
        *(pa.field(name, pa.int64(), nullable=False) for name in COUNTS),
        *(pa.field(f"{level}_mean", pa.float64()) for level in LEVELS),
        pa.field("hit_rate", pa.float64()),
        pa.field("ideal_hit_rate", pa.float64()),
        *(
            pa.field(f"{name}_{part}", pa.float64())
            for name in SKETCHES
            for part in ("mean", *QUANTILES, "max")
        ),
        *(pa.field(f"{name}_sketch", pa.binary()) for name in SKETCHES),
    ]
)

Part = tuple[int | None, str | None]
"""Host and endpoint; None for all of them."""


def series(windows: Windows) -> pa.Table:
    """Return the time series of a run, without gaps between its first window and its last."""
    records = chain.from_iterable(_records(windows, part) for part in _parts(windows))
    batches = [pa.RecordBatch.from_pylist(some, schema=SCHEMA) for some in _batched(records)]
    return pa.Table.from_batches(batches, schema=SCHEMA)


def _batched(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the records in lists: as columns they take a tenth of the room."""
    while some := list(islice(records, BATCH_RECORDS)):
        yield some


def _parts(windows: Windows) -> list[Part]:
    hosts = sorted({host for _, host, _ in windows.cells})
    endpoints = sorted({endpoint for _, _, endpoint in windows.cells if endpoint})
    parts: list[Part] = [(None, None)]
    if len(hosts) > 1:
        parts += [(host, None) for host in hosts]
    if len(endpoints) > 1:
        parts += [(None, endpoint) for endpoint in endpoints]
    return parts


def _records(windows: Windows, part: Part) -> Iterator[dict[str, Any]]:
    host, endpoint = part
    cells: dict[int, list[Cell]] = {}
    for (index, of_host, of_endpoint), cell in sorted(windows.cells.items()):
        if host in (None, of_host) and endpoint in (None, of_endpoint):
            cells.setdefault(index, []).append(cell)
    if not cells:
        return
    levels = [0.0] * len(LEVELS)
    for index in range(min(cells), min(max(cells), min(cells) + WINDOWS_MAX - 1) + 1):
        cell = Cell()
        for each in cells.get(index, ()):
            cell.merge(each)
        yield {
            "start_s": windows.start_s(index),
            "end_s": windows.start_s(index + 1),
            "host": host,
            "endpoint": endpoint,
            **dict(zip(COUNTS, cell.counts, strict=True)),
            **_means(cell, levels, windows.window_s),
            **_derived(cell),
        }


def _means(cell: Cell, levels: list[float], window_s: float) -> dict[str, float]:
    """Return the mean levels of a window and move `levels` to its end."""
    means = {}
    for at, level in enumerate(LEVELS):
        change, moment = cell.changes[2 * at], cell.changes[2 * at + 1]
        means[f"{level}_mean"] = max(0.0, levels[at] + moment / window_s)
        levels[at] += change
    return means


def _derived(cell: Cell) -> dict[str, Any]:
    counts = dict(zip(COUNTS, cell.counts, strict=True))
    known, prompt = counts["known_prompt_tokens"], counts["prompt_tokens"]
    derived: dict[str, Any] = {
        "hit_rate": counts["cached_tokens"] / known if known else None,
        "ideal_hit_rate": counts["ideal_tokens"] / prompt if prompt else None,
    }
    for name in SKETCHES:
        sketch = cell.sketches.get(name)
        if sketch is None or not sketch.count:
            continue
        values = sketch.quantiles(tuple(QUANTILES.values()))
        derived |= {f"{name}_{part}": value for part, value in zip(QUANTILES, values, strict=True)}
        derived |= {f"{name}_mean": sketch.mean, f"{name}_max": sketch.most}
        derived[f"{name}_sketch"] = sketch.to_bytes()
    return derived


assert len(CHANGES) == 2 * len(LEVELS)
