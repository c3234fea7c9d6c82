"""Prefix-chained block ids, cut where their last uses differ."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

_UNSEEN = -2
_ROOT = -1


class BrokenChainError(ValueError):
    """An id that does not imply the ids before it; the text says which, for who knows the file."""


class Cut(NamedTuple):
    """A request's path from its head: `blocks[i]` blocks that request `sources[i]` used last, then new ones.

    Sources fall along the path: who used a block used all before it.
    """

    sources: list[int]
    blocks: list[int]
    new_blocks: int


class Namespace:
    """The blocks of one id namespace: who used each last, and which block stands before it.

    `count` ids from 0 are known in advance (see `dense`), so that a lookup is an index.
    """

    def __init__(self, count: int) -> None:
        self._last_user = np.full(count, -1, dtype=np.int32)
        self._before = np.full(count, _UNSEEN, dtype=np.int64)
        self.unique_blocks = 0

    def touch(self, ids: Ids, request: int) -> Cut:
        """Cut a request's path by last use, then count it as used by `request`."""
        if len(ids) == 0:
            return Cut([], [], 0)
        users = self._last_user.take(ids)
        starts = [0, *(np.flatnonzero(users[1:] != users[:-1]) + 1).tolist(), len(ids)]
        sources = users.take(starts[:-1]).tolist()
        known = starts[-2] if sources[-1] < 0 else len(ids)
        self._check(ids, known)
        if known < len(ids):
            sources.pop()
            self._learn(ids, known)
        self._last_user[ids] = request
        blocks = [end - start for start, end in pairwise(starts)]
        return Cut(sources, blocks[: len(sources)], len(ids) - known)

    def _check(self, ids: Ids, known: int) -> None:
        """Raise unless each known id follows the same id as before, the first none."""
        if known == 0:
            return
        before = self._before.take(ids[:known])
        if before[0] == _ROOT and (before[1:] == ids[: known - 1]).all():
            return
        place = 0 if before[0] != _ROOT else 1 + int(np.argmin(before[1:] == ids[: known - 1]))
        raise BrokenChainError(
            f"block {place} follows other blocks than it did before: ids must be prefix-chained"
        )

    def _learn(self, ids: Ids, known: int) -> None:
        """Enter new ids; one that occurs twice, or was seen further down a path, breaks the chain."""
        new = ids[known:]
        before = np.empty(len(new), dtype=np.int64)
        before[0] = ids[known - 1] if known else _ROOT
        before[1:] = new[:-1]
        is_unseen = self._before.take(new) == _UNSEEN
        self._before[new] = before
        if not is_unseen.all() or not (self._before.take(new) == before).all():
            self._before[new[is_unseen]] = _UNSEEN
            raise BrokenChainError(
                f"a block after block {known} repeats or has another prefix: ids must be chained"
            )
        self.unique_blocks += len(new)


def dense(ids: Ids) -> tuple[Ids, int]:
    """Return ids renamed to 0, 1, ... (as they are where already small), and how many names there are."""
    if len(ids) == 0:
        return ids, 0
    least, most = int(ids.min()), int(ids.max())
    if least >= 0 and most < dense_limit(len(ids)):
        return ids, most + 1
    names, renamed = np.unique(ids, return_inverse=True)
    return renamed.astype(np.int64, copy=False), len(names)


def dense_limit(count: int) -> int:
    """Return the bound under which ids serve as names as they are: a table of them stays small."""
    return 2 * count + 1024
