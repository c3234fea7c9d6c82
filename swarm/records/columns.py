"""The columns of `requests.parquet`, one to one with `RequestRow`; its two tuples are spread over columns.

`docs/run-folder.md` says what each one means, and a test holds the two equal.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from swarm.hit_names import LOST_TO, TIERS
from swarm.records.row import RequestRow

BY_TIER = tuple(f"cached_tokens_{tier}" for tier in TIERS)
LOST = tuple(f"lost_tokens_{cause}" for cause in LOST_TO)

_TYPES = {
    "str": pa.string(),
    "str | None": pa.string(),
    "Outcome": pa.string(),
    "int": pa.int64(),
    "int | None": pa.int64(),
    "float": pa.float64(),
    "float | None": pa.float64(),
    "bool": pa.bool_(),
}
PLAIN = tuple(
    field.name for field in dataclasses.fields(RequestRow) if not str(field.type).startswith("tuple")
)
"""The fields that are one column each; `by_tier` and `lost_to` are the others."""


def _schema() -> pa.Schema:
    types = {field.name: str(field.type) for field in dataclasses.fields(RequestRow)}
    fields = [pa.field(name, _TYPES[types[name]], nullable="None" in types[name]) for name in PLAIN]
    fields += [pa.field(name, pa.int64()) for name in (*BY_TIER, *LOST)]
    return pa.schema(fields)


SCHEMA = _schema()


def arrow_numbers(values: npt.NDArray[Any]) -> pa.Array:
    """Return an array of one dimension as Arrow's, without a null.

    `pa.array` would import `numpy.ma` first, to learn that it is no masked array: 20 to 40 ms.
    """
    if values.dtype == np.bool_:
        bits = pa.py_buffer(np.packbits(values, bitorder="little"))
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])
    numbers = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, numbers])
