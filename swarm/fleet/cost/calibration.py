"""From what a few probes of a server took to the simple cost model that takes as long.

A first token comes after an entry and the computing of what was not cached; a later one takes a line over the
batch and the tokens that it looks at. Both are least squares with coefficients that cannot be negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PREFILL_TOKENS_PER_S_MAX = 1e9
"""Where no length makes a first token later, prefill is faster than these probes can see."""
BLOCK_TOKENS_MAX = 1024


@dataclass(frozen=True, slots=True)
class PrefillProbe:
    """One prompt, alone: what was computed of it, and when its first token came."""

    computed_tokens: int
    ttft_s: float


@dataclass(frozen=True, slots=True)
class DecodeProbe:
    """A batch that decoded together: its size, its mean context and its time per output token."""

    batch: int
    context_tokens: float
    """Over the whole batch."""
    tpot_s: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rates of a server, and how far off they are on the probes that they come from."""

    prefill_tokens_per_s: float
    entry_s: float
    decode_base_s: float
    decode_per_sequence_s: float
    decode_per_context_token_s: float
    block_tokens: int | None
    prefill_error: float
    """Median relative error over the probes."""
    decode_error: float


def calibrate(
    prefills: Sequence[PrefillProbe], decodes: Sequence[DecodeProbe], cached_tokens: Sequence[int]
) -> Calibration:
    """Return the rates that fit the probes best; `cached_tokens` are hits that the server reported."""
    ttft_s = np.array([probe.ttft_s for probe in prefills])
    sizes = np.array([[1.0, probe.computed_tokens] for probe in prefills])
    entry_s, token_s = least_squares(sizes, ttft_s)
    tpot_s = np.array([probe.tpot_s for probe in decodes])
    lines = np.array([[1.0, probe.batch - 1.0, probe.context_tokens] for probe in decodes])
    base_s, sequence_s, context_s = least_squares(lines, tpot_s)
    return Calibration(
        prefill_tokens_per_s=min(PREFILL_TOKENS_PER_S_MAX, 1.0 / token_s if token_s else math.inf),
        entry_s=entry_s,
        decode_base_s=base_s,
        decode_per_sequence_s=sequence_s,
        decode_per_context_token_s=context_s,
        block_tokens=block_of(cached_tokens),
        prefill_error=_error(sizes @ np.array([entry_s, token_s]), ttft_s),
        decode_error=_error(lines @ np.array([base_s, sequence_s, context_s]), tpot_s),
    )


def block_of(cached_tokens: Sequence[int]) -> int | None:
    """Return the largest block that all hits are whole numbers of; None where none was seen."""
    hits = [tokens for tokens in cached_tokens if tokens > 0]
    if not hits:
        return None
    block = math.gcd(*hits)
    while block > BLOCK_TOKENS_MAX and block % 2 == 0:
        block //= 2
    return block


def least_squares(rows: NDArray[np.float64], values: NDArray[np.float64]) -> list[float]:
    """Return coefficients >= 0 of least relative squares; those that would be negative are left out.

    With three columns at most, every choice of them is tried: the best without a negative one is exact.
    """
    weights = 1.0 / np.maximum(values, 1e-9)
    count = rows.shape[1]
    best, least = [0.0] * count, math.inf
    for chosen in range(1, 2**count):
        columns = [at for at in range(count) if chosen >> at & 1]
        part = rows[:, columns] * weights[:, None]
        found, *_ = np.linalg.lstsq(part, values * weights, rcond=None)
        if (found < 0).any():
            continue
        error = float(np.square(part @ found - values * weights).sum())
        if error < least * (1 - 1e-9):
            least = error
            best = [0.0] * count
            for at, value in zip(columns, found, strict=True):
                best[at] = float(value)
    return best


def _error(predicted: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(predicted / values - 1.0)))
