"""Ids that several sessions share, kept on disk until all are there to be put in order of time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from swarm.reuse.prefix_reuse import Touch
from swarm.workload.block_paths import Ids, dense_limit

_MERGE_AT = 1 << 20


class Spool:
    """A temporary file of ids, and one small row for each request; `names` counts the distinct ids."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._offset = 0
        self._distinct: Ids = np.zeros(0, dtype=np.int64)
        self._unmerged: list[Ids] = []
        self._unmerged_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, touches: list[Touch]) -> None:
        """Put touches away, in any order."""
        for number, at_us, ids, block_tokens, overhang in touches:
            self._file.write(ids.tobytes())
            self._rows.append((at_us, number, self._offset, len(ids), block_tokens, overhang))
            self._offset += ids.nbytes
            self._unmerged.append(ids)
            self._unmerged_count += len(ids)
        if self._unmerged_count > max(_MERGE_AT, 2 * len(self._distinct)):
            self._merge()

    @property
    def names(self) -> int:
        """How many names `touches` uses: the ids themselves where they are small numbers."""
        self._merge()
        if self._is_dense():
            return int(self._distinct[-1]) + 1
        return len(self._distinct)

    def touches(self) -> Iterator[Touch]:
        """Yield all touches in order of time, ids renamed to 0, 1, ..."""
        self._merge()
        self._file.flush()
        is_dense = self._is_dense()
        for at_us, number, offset, count, block_tokens, overhang in sorted(self._rows):
            ids = np.frombuffer(os.pread(self._file.fileno(), 8 * count, offset), dtype=np.int64)
            named = ids if is_dense else np.searchsorted(self._distinct, ids)
            yield Touch(number, at_us, named, block_tokens, overhang)

    def _is_dense(self) -> bool:
        distinct = self._distinct
        return len(distinct) > 0 and distinct[0] >= 0 and distinct[-1] < dense_limit(len(distinct))

    def _merge(self) -> None:
        if self._unmerged:
            self._distinct = np.unique(np.concatenate((self._distinct, *self._unmerged)))
            self._unmerged = []
            self._unmerged_count = 0
