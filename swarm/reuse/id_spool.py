"""Ids that several sessions share, kept on disk until all are there to be put in order of time."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import Self

import numpy as np

from swarm.reuse.prefix_reuse import Touch
from swarm.workload.block_paths import Ids, dense_limit

_MERGE_AT = 1 << 20
_RECENT = 64
"""Prompts that a new one is held against: it mostly goes on from one of them, whose ids are known already."""
_PARTED = 4
"""Of these, the newest, with which its beginning is compared where it goes on from none."""


class Spool:
    """A temporary file of ids, and one small row for each request; `names` counts the distinct ids."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._rows: list[tuple[int, int, int, int, int, int]] = []
        self._offset = 0
        self._distinct: Ids = np.zeros(0, dtype=np.int64)
        self._unmerged: list[Ids] = []
        self._unmerged_count = 0
        self._recent: deque[Ids] = deque(maxlen=_RECENT)

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
            own = self._own(ids)
            if len(own):
                self._unmerged.append(own)
                self._unmerged_count += len(own)
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

    def _own(self, ids: Ids) -> Ids:
        """Return the ids behind those that a prompt shares with one of the last ones."""
        recent, longest = self._recent, 0
        goes_on = next((each for each in recent if _goes_on(ids, each)), None)
        tried = [goes_on] if goes_on is not None else list(islice(recent, _PARTED))
        longest = max((_shared(ids, before) for before in tried), default=0)
        recent.appendleft(ids)
        return ids[longest:].copy()

    def _is_dense(self) -> bool:
        distinct = self._distinct
        return len(distinct) > 0 and distinct[0] >= 0 and distinct[-1] < dense_limit(len(distinct))

    def _merge(self) -> None:
        if self._unmerged:
            # numpy.unique hashes first: 3 million ids take it 3.6 s, sorting 0.05 s (numpy 2.4).
            found = np.concatenate((self._distinct, *self._unmerged))
            found.sort()
            self._distinct = found[np.concatenate(([True], found[1:] != found[:-1]))]
            self._unmerged = []
            self._unmerged_count = 0


def _goes_on(one: Ids, other: Ids) -> bool:
    """Return whether a prompt seems to begin with the whole of another, by the last id of that."""
    return 0 < len(other) <= len(one) and bool(one[len(other) - 1] == other[-1])


def _shared(one: Ids, other: Ids) -> int:
    """Return how many ids two prompts begin with together."""
    least = min(len(one), len(other))
    if not least or one[0] != other[0]:
        return 0
    differs = one[:least] != other[:least]
    at = int(differs.argmax())
    return at if differs[at] else least
