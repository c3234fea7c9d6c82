"""Ideal prefix reuse of a workload: who used each stretch of blocks before, and when.

Knows: requests as paths of block ids at instants. Does not know: files, sessions, service times.
All that is asked later (any TTL, any capacity) is a sum over the pieces found in one pass.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swarm.reuse.stack_distances import Stack
from swarm.workload.block_paths import BrokenChainError, Ids, Namespace

Column = NDArray[np.int64]
OnBroken = Callable[[int, BrokenChainError], None]


class Touch(NamedTuple):
    """A request's use of its path. `overhang`: tokens by which the last block exceeds the input."""

    request: int
    at_us: int
    ids: Ids
    block_tokens: int
    overhang: int


@dataclass(frozen=True, slots=True)
class Requests:
    """One row a request, in order of time from the first on; `number` is the caller's, and breaks ties."""

    number: Column
    at_us: Column
    blocks: Column
    tokens: Column
    new_tokens: Column


@dataclass(frozen=True, slots=True)
class Pieces:
    """One row for each stretch of a path whose last user was the same request.

    `overhang` is only set where the piece holds the last block of its path.
    `above`: the tokens used since the source; the piece's own first block lies right below them.
    """

    request: Column
    source: Column
    blocks: Column
    tokens: Column
    overhang: Column
    above: Column


@dataclass(frozen=True, slots=True)
class Reuse:
    """The reuse of a whole workload."""

    requests: Requests
    pieces: Pieces
    unique_blocks: int
    computed_max: dict[int, int]
    """By TTL in microseconds: how often the most often computed block was computed."""


class ReuseBuilder:
    """Collects namespaces, in any order; requests are numbered by the caller, ties go by number."""

    def __init__(self, ttls_us: Iterable[int]) -> None:
        self._ttls_us = sorted(set(ttls_us))
        self._computed_max = dict.fromkeys(self._ttls_us, 0)
        self._requests = tuple(array("q") for _ in range(5))
        self._pieces = tuple(array("q") for _ in range(5))
        self._unique_blocks = 0

    def add(self, touches: Iterable[Touch], names: int, on_broken: OnBroken) -> None:
        """Count one namespace of `names` ids, its touches in order of time.

        A touch whose ids break the chain is handed to `on_broken`. What that raises ends the call, with
        nothing of the namespace counted; otherwise the touch alone is left out.
        """
        namespace = Namespace(names)
        again = [np.zeros(names, dtype=np.int32) for _ in self._ttls_us]
        times: dict[int, int] = {}
        request_rows: list[tuple[int, ...]] = []
        piece_rows: list[tuple[int, ...]] = []
        for request, at_us, ids, block_tokens, overhang in touches:
            try:
                sources, blocks, new_blocks = namespace.touch(ids, request)
            except BrokenChainError as error:
                on_broken(request, error)
                continue
            times[request] = at_us
            request_rows.append(
                (request, at_us, len(ids), len(ids) * block_tokens, new_blocks * block_tokens)
            )
            if not sources:
                continue
            for source, count in zip(sources, blocks, strict=True):
                piece_rows.append((request, source, count, count * block_tokens, 0))
            if overhang and not new_blocks:
                piece_rows[-1] = (*piece_rows[-1][:4], overhang)
            ages = [at_us - times[source] for source in sources]
            _count_again(again, self._ttls_us, ages, blocks, ids)
        _extend(self._requests, request_rows)
        _extend(self._pieces, piece_rows)
        self._unique_blocks += namespace.unique_blocks
        self._note_most(namespace.unique_blocks, again)

    def _note_most(self, unique_blocks: int, again: list[NDArray[np.int32]]) -> None:
        if unique_blocks:
            for ttl_us, counts in zip(self._ttls_us, again, strict=True):
                self._computed_max[ttl_us] = max(self._computed_max[ttl_us], 1 + int(counts.max()))

    def build(self, start_us: int) -> Reuse:
        """Put all requests into one order, and find what lies between uses in a shared LRU stack.

        Their instants count from `start_us`, that of the first one.
        """
        number, *columns = (np.frombuffer(column, dtype=np.int64) for column in self._requests)
        owner, source, *sizes = (np.frombuffer(column, dtype=np.int64) for column in self._pieces)
        order = np.lexsort((number, columns[0]))
        at_us, *sizes_of = (column[order] for column in columns)
        requests = Requests(number[order], at_us - start_us, *sizes_of)
        rank = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
        rank[number[order]] = np.arange(len(order))
        by_rank = np.argsort(rank[owner], kind="stable")
        owner, source = rank[owner[by_rank]], rank[source[by_rank]]
        blocks, tokens, overhang = (size[by_rank] for size in sizes)
        above = _distances(owner, source, tokens, requests.new_tokens)
        pieces = Pieces(owner, source, blocks, tokens, overhang, above)
        return Reuse(requests, pieces, self._unique_blocks, dict(self._computed_max))


def _count_again(
    again: list[NDArray[np.int32]],
    ttls_us: Sequence[int],
    ages_us: Sequence[int],
    blocks: Sequence[int],
    ids: Ids,
) -> None:
    """Count the known blocks that each TTL has expired; ages rise along the path, TTLs along the list."""
    known = -1
    for counts, ttl_us in zip(again, ttls_us, strict=True):
        if ages_us[-1] <= ttl_us:
            return
        if known < 0:
            known = sum(blocks)
        held = sum(count for count, age_us in zip(blocks, ages_us, strict=True) if age_us <= ttl_us)
        counts[ids[held:known]] += 1


def _extend(columns: tuple[array[int], ...], rows: list[tuple[int, ...]]) -> None:
    for column, values in zip(columns, zip(*rows, strict=True), strict=False):
        column.extend(values)


def _distances(owner: Column, source: Column, tokens: Column, new_tokens: Column) -> Column:
    """Return, for each piece, the tokens above it; pieces stand in order of their requests."""
    stack = Stack(len(new_tokens))
    above: array[int] = array("q")
    ends = np.searchsorted(owner, np.arange(len(new_tokens)), side="right").tolist()
    sources, sizes = source.tolist(), tokens.tolist()
    start = 0
    for request, (end, new) in enumerate(zip(ends, new_tokens.tolist(), strict=True)):
        above.extend(stack.lift(request, sources[start:end], sizes[start:end], new))
        start = end
    return np.frombuffer(above, dtype=np.int64)
