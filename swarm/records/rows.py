"""Rows in bulk: from `RequestRow`s to Arrow tables and messages."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TypeAlias

import pyarrow as pa
import pyarrow.ipc

from swarm.records.columns import BY_TIER, LOST, PLAIN, SCHEMA
from swarm.records.row import RequestRow

CHUNK_ROWS = 8192
COMPRESSED_ROWS_LEAST = 64
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")
ORDER = [(name, "ascending") for name in ("intended_s", "agent", "turn", "attempts")]
"""Of `requests.parquet`."""
RowValues: TypeAlias = tuple[object, ...]
"""What a row has in each column, in their order."""
_plain_of = attrgetter(*PLAIN)
_TUPLES = (("by_tier", BY_TIER), ("lost_to", LOST))
NO_TIERS: RowValues = (None,) * len(BY_TIER)
NO_LOSSES: RowValues = (None,) * len(LOST)
"""The values of a row that does not say by which tier, or why not."""


class RowTable:
    """Rows that only grow; each `CHUNK_ROWS` become Arrow columns, a tenth of the objects' size."""

    def __init__(self) -> None:
        self._rows: list[RequestRow] = []
        self._chunks: list[pa.RecordBatch] = []

    def __len__(self) -> int:
        """Return how many rows are held."""
        return len(self._rows) + sum(int(chunk.num_rows) for chunk in self._chunks)

    def append(self, row: RequestRow) -> None:
        """Hold a row, which must not change any more."""
        self._rows.append(row)
        if len(self._rows) >= CHUNK_ROWS:
            self._pack()

    def extend(self, rows: Iterable[RequestRow]) -> None:
        """Hold several rows."""
        for row in rows:
            self.append(row)

    def extend_table(self, table: pa.Table) -> None:
        """Hold the rows of a table with the same columns."""
        self._pack()
        self._chunks.extend(table.cast(SCHEMA).to_batches())

    def table(self) -> pa.Table:
        """Return all rows held."""
        self._pack()
        return pa.Table.from_batches(self._chunks, schema=SCHEMA)

    def take(self) -> pa.Table:
        """Return all rows held, and hold none of them any more."""
        table = self.table()
        self._chunks = []
        return table

    def _pack(self) -> None:
        if self._rows:
            self._chunks.append(batch_of(self._rows))
            self._rows = []


def warm_up() -> None:
    """Let Arrow make its first array now, and without pandas, which it would import for that.

    Pandas takes a third of a second, and processes that make no frames need none. Where Arrow does not find
    it, it looks for it again as soon as a frame is asked for.
    """
    sys.meta_path.insert(0, _NoPandas)
    try:
        # For values of a type, and for values whose type is found.
        pa.array([None], pa.int64())
        pa.array([1])
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoPandas:
    """Finds no pandas; looks for nothing else."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


def values_of(row: RequestRow) -> RowValues:
    """Return a row's value in each column."""
    plain: RowValues = _plain_of(row)
    return (*plain, *(row.by_tier or NO_TIERS), *(row.lost_to or NO_LOSSES))


def batch_of(rows: Iterable[RequestRow]) -> pa.RecordBatch:
    """Return rows, one or more, as columns."""
    return batch_of_values(map(values_of, rows))


def batch_of_values(rows: Iterable[RowValues]) -> pa.RecordBatch:
    """Return rows, one or more, as columns."""
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def rows_of(table: pa.Table) -> Iterator[RequestRow]:
    """Return the rows of a table, one by one."""
    for record in table.to_pylist():
        values = {name: record[name] for name in PLAIN}
        for name, spread in _TUPLES:
            parts = tuple(record[column] for column in spread)
            values[name] = None if parts[0] is None else parts
        yield RequestRow(**values)


def to_message(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream, compressed where that is worth its cost for each column."""
    sink = pa.BufferOutputStream()
    options = _COMPRESSED if table.num_rows >= COMPRESSED_ROWS_LEAST else None
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_message(data: bytes) -> pa.Table:
    """Return the table of an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()


def merged(tables: Iterable[pa.Table]) -> pa.Table:
    """Return all rows in the order of `requests.parquet`: by intended time, agent and turn."""
    return pa.concat_tables([pa.Table.from_batches([], schema=SCHEMA), *tables]).sort_by(ORDER)
