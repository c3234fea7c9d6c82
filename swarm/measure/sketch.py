"""Quantiles that merge: counts in logarithmic bins, with count, sum, least and greatest kept exactly.

The bins and their error bound are the ddsketch library's. Its `add` takes about 2 us a value, so values wait
in a list and go into the bins as arrays; a sketch that never fills the list answers exactly.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore

RELATIVE_ACCURACY = 0.004
"""A little inside the promised 0.5 %, as a value on a bin's edge may fall to either side."""
PENDING_MAX = 256
LEAST_S = 1e-9
"""Values below it, and negative ones, count as 0: far below any clock in use."""

_MAPPING = LogarithmicMapping(RELATIVE_ACCURACY)
_HEAD = np.dtype(
    [
        ("count", "<i8"),
        ("zeros", "<i8"),
        ("pending", "<i8"),
        ("total", "<f8"),
        ("least", "<f8"),
        ("most", "<f8"),
    ]
)
_HEAD_STRUCT = struct.Struct("<qqqddd")
_BIN = np.dtype([("key", "<i4"), ("weight", "<i8")])
_LOG_GAMMA = math.log(_MAPPING.gamma)

Floats = npt.NDArray[np.float64]


class Sketch:
    """Quantiles of observations within `RELATIVE_ACCURACY`; mean, least and greatest are exact."""

    __slots__ = ("_bins", "_pending", "_zeros", "count", "least", "most", "total")

    def __init__(self) -> None:
        self._pending: list[float] = []
        self._bins: DenseStore | None = None
        self._zeros = 0
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.most = -math.inf

    @property
    def mean(self) -> float | None:
        """The exact mean, or None without observations."""
        return self.total / self.count if self.count else None

    def add(self, value: float) -> None:
        """Count one observation."""
        self._pending.append(value)
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        if len(self._pending) > PENDING_MAX:
            self._fold()

    def add_many(self, values: Floats | Sequence[float]) -> None:
        """Count many observations; NaN stands for none."""
        array = np.asarray(values, dtype=np.float64)
        array = array[~np.isnan(array)]
        if not len(array):
            return
        self.count += len(array)
        self.total += math.fsum(array) if len(array) <= PENDING_MAX else float(array.sum())
        self.least = min(self.least, float(array.min()))
        self.most = max(self.most, float(array.max()))
        if len(self._pending) + len(array) <= PENDING_MAX:
            self._pending.extend(array.tolist())
        else:
            self._fold()
            self._count(array)

    def merge(self, other: Sketch) -> None:
        """Count everything that another sketch has counted."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self._zeros += other._zeros
        self._pending.extend(other._pending)
        if other._bins is not None:
            self._bins = self._bins or DenseStore()
            self._bins.merge(other._bins)
        if len(self._pending) > PENDING_MAX:
            self._fold()

    def merge_bytes(self, parts: Sequence[bytes]) -> None:
        """Count everything that other sketches, one or more, have counted, as `to_bytes` wrote them."""
        size = _HEAD.itemsize
        heads = np.frombuffer(b"".join([part[:size] for part in parts]), dtype=_HEAD)
        ends = (size + 8 * heads["pending"]).tolist()
        self.count += int(heads["count"].sum())
        self.total += float(heads["total"].sum())
        self.least = min(self.least, float(heads["least"].min()))
        self.most = max(self.most, float(heads["most"].max()))
        self._zeros += int(heads["zeros"].sum())
        bins = np.frombuffer(
            b"".join([part[end:] for part, end in zip(parts, ends, strict=True)]), dtype=_BIN
        )
        if len(bins):
            keys, at = np.unique(bins["key"], return_inverse=True)
            weights = np.bincount(at, weights=bins["weight"])
            self._add_bins(keys.tolist(), weights.astype(np.int64).tolist())
        pending = np.frombuffer(
            b"".join([part[size:end] for part, end in zip(parts, ends, strict=True)]), dtype="<f8"
        )
        if len(self._pending) + len(pending) <= PENDING_MAX:
            self._pending.extend(pending.tolist())
        else:
            self._fold()
            self._count(pending)

    def quantile(self, share: float) -> float | None:
        """Return the quantile, interpolated between ranks as numpy does; None without observations."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """Return several quantiles for one walk over the bins."""
        if not self.count:
            return [None for _ in shares]
        if self._bins is None and not self._zeros:
            values = sorted(self._pending)
            return [_interpolated(values, share) for share in shares]
        self._fold()
        keys, weights = self._filled()
        ends = list(accumulate([self._zeros, *weights]))
        return [self._between(share * (self.count - 1), keys, ends) for share in shares]

    def share_at_most(self, bound: float) -> float | None:
        """Return the share of observations at or below a bound, or None without observations."""
        if not self.count:
            return None
        within = sum(value <= bound for value in self._pending) + (self._zeros if bound >= 0 else 0)
        if self._bins is not None and bound > LEAST_S:
            limit = _MAPPING.key(bound)
            keys, weights = self._filled()
            within += sum(weight for key, weight in zip(keys, weights, strict=True) if key <= limit)
        return within / self.count

    def counts_between(self, bounds: Sequence[float]) -> list[int]:
        """Return how many observations lie up to the first of rising bounds, up to each next, and above."""
        counts = [0] * (len(bounds) + 1)
        for value in self._pending:
            counts[bisect_left(bounds, value)] += 1
        counts[0] += self._zeros
        keys, weights = self._filled()
        for key, weight in zip(keys, weights, strict=True):
            counts[bisect_left(bounds, _MAPPING.value(key))] += weight
        return counts

    def to_bytes(self) -> bytes:
        """Return a compact form for messages and files: counts and numbers, nothing that runs."""
        keys, weights = self._filled()
        head = _HEAD_STRUCT.pack(
            self.count, self._zeros, len(self._pending), self.total, self.least, self.most
        )
        pending = struct.pack(f"<{len(self._pending)}d", *self._pending)
        if not keys:
            return head + pending
        return head + pending + np.array(list(zip(keys, weights, strict=True)), dtype=_BIN).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Sketch:
        """Return the sketch that `to_bytes` wrote."""
        head = np.frombuffer(data, dtype=_HEAD, count=1)[0]
        bins_at = _HEAD.itemsize + int(head["pending"]) * 8
        sketch = cls()
        sketch.count = int(head["count"])
        sketch.total = float(head["total"])
        sketch.least, sketch.most = float(head["least"]), float(head["most"])
        sketch._zeros = int(head["zeros"])
        sketch._pending = np.frombuffer(data[_HEAD.itemsize : bins_at], dtype="<f8").tolist()
        bins = np.frombuffer(data[bins_at:], dtype=_BIN)
        if len(bins):
            sketch._add_bins(bins["key"].tolist(), bins["weight"].tolist())
        return sketch

    def _store(self) -> DenseStore:
        if self._bins is None:
            self._bins = DenseStore()
        return self._bins

    def _fold(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            self._count(np.array(pending))

    def _count(self, values: Floats) -> None:
        """Add values to the bins, each filled bin at once."""
        positive = values[values >= LEAST_S]
        self._zeros += len(values) - len(positive)
        if not len(positive):
            return
        keys, weights = np.unique(np.ceil(np.log(positive) / _LOG_GAMMA).astype(np.int64), return_counts=True)
        self._add_bins(keys.tolist(), weights.tolist())

    def _add_bins(self, keys: list[int], weights: list[int]) -> None:
        """Add to bins whose keys rise: once the outermost are there, the store has room for those between."""
        store = self._store()
        store.add(keys[0], weights[0])
        if len(keys) == 1:
            return
        store.add(keys[-1], weights[-1])
        bins, offset = store.bins, store.offset
        for key, weight in zip(keys[1:-1], weights[1:-1], strict=True):
            bins[key - offset] += weight
        store.count += sum(weights[1:-1])

    def _filled(self) -> tuple[list[int], list[int]]:
        """Return the keys and weights of the bins that hold something, in order."""
        if self._bins is None:
            return [], []
        offset = self._bins.offset
        bins = self._bins.bins
        filled = [at for at, weight in enumerate(bins) if weight]
        return [offset + at for at in filled], [int(bins[at]) for at in filled]

    def _between(self, rank: float, keys: list[int], ends: list[int]) -> float:
        low = self._at(math.floor(rank), keys, ends)
        high = self._at(math.ceil(rank), keys, ends)
        return low + (high - low) * (rank - math.floor(rank))

    def _at(self, rank: int, keys: list[int], ends: list[int]) -> float:
        """Return the value at a rank; `ends` are the counts up to the zeros' bin and each key's."""
        place = bisect_right(ends, rank)
        value = 0.0 if place == 0 else float(_MAPPING.value(keys[min(place, len(keys)) - 1]))
        return min(max(value, self.least), self.most)


def _interpolated(values: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values as numpy does, which takes far longer for a few of them."""
    rank = share * (len(values) - 1)
    low = int(rank)
    below, above = values[low], values[min(low + 1, len(values) - 1)]
    part = rank - low
    # numpy counts from the nearer end.
    return above - (above - below) * (1.0 - part) if part >= 0.5 else below + (above - below) * part
