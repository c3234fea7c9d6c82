"""The letters of zones above points: points too near for a letter each share a row of letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

LETTER_HEIGHT_PX = 21
"""From a point to the top of its letter: a point nearer above would lie under the letter."""
LETTER_WIDTH_PX = 10


@dataclass(frozen=True, slots=True)
class Letter:
    """A zone's letter above the point (x, y), moved sideways by `dx_px`."""

    x: Any
    y: float
    zone: str
    dx_px: float


def letters_of(rows: pd.DataFrame, px_per_unit: float) -> list[Letter]:
    """Return the letters of one column of a chart; `px_per_unit` is of a y axis that is not logarithmic.

    Points of one x less than a letter apart share a row above the highest of them: each zone once, those of
    higher points first.
    """
    return [
        Letter(x, y, zone, LETTER_WIDTH_PX * (at - (len(zones) - 1) / 2))
        for x, part in rows.groupby("x", sort=False)
        for y, zones in _shared(part.sort_values("y", ascending=False), px_per_unit)
        for at, zone in enumerate(zones)
    ]


def _shared(highest_first: pd.DataFrame, px_per_unit: float) -> list[tuple[float, list[str]]]:
    shared: list[tuple[float, list[str]]] = []
    for y, zone in zip(highest_first["y"], highest_first["zone"], strict=True):
        if not shared or (shared[-1][0] - y) * px_per_unit >= LETTER_HEIGHT_PX:
            shared.append((float(y), []))
        if zone not in shared[-1][1]:
            shared[-1][1].append(str(zone))
    return shared
