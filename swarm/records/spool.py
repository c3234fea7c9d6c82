"""Rows of a run of any length: on disk while it goes on, and read from there through the system's page cache.

A simulation of days makes more rows than fit in memory, and nobody looks at them before its end.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from swarm.errors import RunError
from swarm.records.columns import SCHEMA, arrow_numbers
from swarm.records.rows import CHUNK_ROWS, ORDER, RowValues, batch_of_values

HELD_ROWS = 1024
"""In memory: as many as stay in a core's cache until they are written."""


class RowSpool:
    """Rows that only grow: at most `HELD_ROWS` of them in memory, those before in a file without a name.

    The file lies in the system's folder for temporary files (TMPDIR), about 400 bytes a row, and is gone
    with the last table that was read from it, however the process ends.
    """

    def __init__(self) -> None:
        self._rows: list[RowValues] = []
        self._file = _Written()

    def append(self, row: RowValues) -> None:
        """Hold a row."""
        self._rows.append(row)
        if len(self._rows) >= HELD_ROWS:
            self._file.write(batch_of_values(self._rows))
            self._rows = []

    def ordered(self) -> pa.Table:
        """Return all rows in the order of `requests.parquet`; no row can be held any more after that."""
        rest = pa.Table.from_batches([batch_of_values(self._rows)] if self._rows else [], schema=SCHEMA)
        self._rows = []
        if self._file.is_empty:
            return rest.sort_by(ORDER)
        table = pa.concat_tables([self._file.table(), rest])
        ordered = _Written()
        for batch in _in_order(table):
            ordered.write(batch)
        return ordered.table()


class _Written:
    """Record batches on disk."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    @property
    def is_empty(self) -> bool:
        return self._writer is None

    def write(self, batch: pa.RecordBatch) -> None:
        try:
            if self._writer is None:
                self._file = tempfile.TemporaryFile(prefix="swarm-rows-")  # noqa: SIM115
                self._writer = pa.ipc.new_stream(self._file, SCHEMA)
            self._writer.write_batch(batch)
        except OSError as fault:
            raise RunError(
                f"{tempfile.gettempdir()}: a run's rows are kept there until its end, and cannot be written: "
                f"{fault}; set TMPDIR to a folder with room"
            ) from fault

    def table(self) -> pa.Table:
        """Return all that was written; its columns are the file's pages."""
        assert self._file is not None and self._writer is not None
        self._writer.close()
        self._file.flush()
        pages = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._file.close()
        return pa.ipc.open_stream(pa.py_buffer(pages)).read_all()


def _in_order(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows in order, chunk by chunk.

    Rows come as requests end and are ordered by when they were due: those of a chunk lie close together.
    """
    indices = pc.sort_indices(table, sort_keys=ORDER).to_numpy()
    for low in range(0, len(indices), CHUNK_ROWS):
        part = indices[low : low + CHUNK_ROWS].astype(np.int64)
        first = int(part.min())
        near = table.slice(first, int(part.max()) + 1 - first).combine_chunks()
        yield from near.take(arrow_numbers(part - first)).combine_chunks().to_batches()
