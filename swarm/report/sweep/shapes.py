"""The shape of a curve: where it falls off, where its knee lies, where it leaves or reaches its floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

ALIKE = 0.10
"""Values whose least is within this share of their greatest are called alike."""
CLIFF = 0.20
"""A fall between neighbouring points by more than this share of the curve's peak is called a cliff."""
KNEE = 0.90
"""Where a rising curve has this share of its peak, what follows adds little."""
LEFT_TIMES = 2.0
"""A cost has left its floor where it is more than so many times its least,"""
LEFT_POINTS = 0.05
"""and a share where it is so far above it."""

Kind = Literal["cliff", "left floor", "peak", "knee", "reached floor", "decline", "flat", "rise", "uneven"]


@dataclass(frozen=True, slots=True)
class CurveShape:
    """What there is to say of one curve, between which two of its points, and from which value to which."""

    series: str
    kind: Kind
    from_x: Any
    to_x: Any
    from_y: float
    to_y: float

    @property
    def fall(self) -> float:
        """How much is lost between the two points, as a share."""
        return (self.from_y - self.to_y) / self.from_y if self.from_y > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve with the least and the greatest of its seeds at each point."""

    series: str
    xs: list[Any]
    ys: list[float]
    lows: list[float]
    highs: list[float]


def curves_of(rows: pd.DataFrame) -> list[Curve]:
    """Return the curves of one column of a chart, in the chart's order."""
    return [
        Curve(
            str(series),
            list(part["x"]),
            [float(y) for y in part["y"]],
            [float(y) for y in part["low"]],
            [float(y) for y in part["high"]],
        )
        for series, part in rows.groupby("series", sort=False)
    ]


def is_alike(values: list[float]) -> bool:
    """Whether values are within `ALIKE` of each other."""
    return min(values) >= (1 - ALIKE) * max(values)


def gain_shape(curve: Curve) -> CurveShape:
    """Return the shape of a figure that is better when it is high."""
    xs, ys = curve.xs, curve.ys
    top = max(range(len(ys)), key=lambda at: ys[at])
    start, end = steepest(ys)
    is_throughout = end - start == len(ys) - 1 > 1
    is_beyond_seeds = curve.lows[start] > curve.highs[end]
    if ys[start] - ys[end] > CLIFF * ys[top] and is_beyond_seeds and not is_throughout:
        return _between(curve, "cliff", start, end)
    if is_alike(ys) or ys[top] <= 0:
        return flat_shape(curve)
    if ys[-1] < (1 - ALIKE) * ys[top]:
        return _between(curve, "decline" if top == 0 else "peak", top, len(ys) - 1)
    knee = next(at for at in range(len(ys)) if ys[at] >= KNEE * ys[top])
    if 0 < knee < len(xs) - 1 and min(ys[knee:]) >= KNEE * ys[top]:
        return _between(curve, "knee", 0, knee)
    return _between(curve, "rise" if ys[-1] == ys[top] else "uneven", 0, top)


def flat_shape(curve: Curve) -> CurveShape:
    """Return the shape of a curve that goes nowhere: between its least and its greatest value."""
    places = range(len(curve.ys))
    least, top = (pick(places, key=lambda at: curve.ys[at]) for pick in (min, max))
    return _between(curve, "flat", least, top)


def cost_shape(curve: Curve, *, is_share: bool) -> CurveShape:
    """Return the shape of a figure that is better when it is low."""
    ys = curve.ys
    least = min(ys)
    bound = least + LEFT_POINTS if is_share else LEFT_TIMES * least
    above = [y > bound for y in ys]
    many = sum(above)
    if not many:
        return flat_shape(curve)
    if above == [False] * (len(ys) - many) + [True] * many:
        return _between(curve, "left floor", len(ys) - many - 1, len(ys) - many)
    if above == [True] * many + [False] * (len(ys) - many):
        return _between(curve, "reached floor", 0, many)
    top = max(range(len(ys)), key=lambda at: ys[at])
    return _between(curve, "uneven", top, top)


def steepest(ys: list[float]) -> tuple[int, int]:
    """Return the ends of the deepest fall: of one step, or of steep steps in a row."""
    steep = CLIFF * max(ys)
    best = (0, 0)
    start = 0
    for at in range(1, len(ys)):
        drop = ys[at - 1] - ys[at]
        if at == 1 or drop <= steep or ys[at - 2] - ys[at - 1] <= steep:
            start = at - 1
        if ys[start] - ys[at] > ys[best[0]] - ys[best[1]]:
            best = (start, at)
    return best


def alike_at(curves: list[Curve]) -> dict[Any, bool]:
    """Return, for each x that all curves have, whether they are alike there."""
    every = [dict(zip(curve.xs, curve.ys, strict=True)) for curve in curves]
    common = [x for x in curves[0].xs if all(x in each for each in every)]
    return {x: is_alike([each[x] for each in every]) for x in common}


def _between(curve: Curve, kind: Kind, start: int, end: int) -> CurveShape:
    return CurveShape(curve.series, kind, curve.xs[start], curve.xs[end], curve.ys[start], curve.ys[end])
