"""One sentence for each chart of a sweep, computed from its points: cliffs, knees, floors, the best point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from swarm.report.numbers import plain, seconds, share
from swarm.report.sweep.points import ZONES, is_cost
from swarm.report.sweep.shapes import (
    ALIKE,
    Curve,
    CurveShape,
    Kind,
    alike_at,
    cost_shape,
    curves_of,
    flat_shape,
    gain_shape,
    is_alike,
)

Show = Callable[[float | None], str]
X = "\0"
"""Stands before a value of the horizontal axis, until the sentence is whole."""
OPENINGS = ("up", "from", "at", "highest", "lowest")
"""First words that are not a curve's name."""
CLAUSES_MAX = 4
WORTH: tuple[Kind, ...] = (
    "cliff", "left floor", "peak", "knee", "reached floor", "decline", "flat",
)  # fmt: skip
"""Shapes that are worth a clause, the first the most; of a rising or uneven curve its best point is told."""


def shower(figure: str) -> Show:
    """Return how values of a figure are written."""
    if figure.split(".")[0].endswith("_s"):
        return seconds
    return share if is_share(figure) else plain


def is_share(figure: str) -> bool:
    """Return whether a figure is a share, from 0 to 1."""
    return figure.endswith(("rate", "ratio")) or ".lost_to." in figure


def shape_of(curve: Curve, figure: str) -> CurveShape:
    """Return the shape of a curve of a figure; one whose values are all written alike is flat."""
    show = shower(figure)
    if show(min(curve.ys)) == show(max(curve.ys)):
        return flat_shape(curve)
    return cost_shape(curve, is_share=is_share(figure)) if is_cost(figure) else gain_shape(curve)


def sentence(rows: pd.DataFrame, *, x_title: str, figure: str) -> str:
    """Return what a chart shows for these numbers, with a part for each of its columns; "" if nothing."""
    said = []
    for column, part in rows.groupby("column", sort=False):
        text = _of_column(curves_of(part), figure)
        said.append(f"{column!s}: {text}" if column and text else text)
    # The axis is named once: where a value of it first stands.
    whole = " ".join(f"{text}." for text in said if text).replace(X, f"{x_title} = ", 1).replace(X, "")
    first = whole.partition(" ")[0]
    return whole[:1].upper() + whole[1:] if first in OPENINGS else whole


def zones(rows: pd.DataFrame, x_title: str) -> str:
    """Return where each curve earns, breaks even and loses money."""
    said = []
    for (column, series), part in rows.groupby(["column", "series"], sort=False):
        places = {
            zone: [_name(x) for x, found in zip(part["x"], part["zone"], strict=True) if found == zone]
            for zone in ZONES
        }
        texts = [
            f"{ZONES[zone]} {'everywhere' if len(xs) == len(part) else 'at ' + ', '.join(xs)}"
            for zone, xs in places.items()
            if xs
        ]
        said.append(
            " · ".join(name for name in (str(column), str(series)) if name) + f" {' and '.join(texts)}"
        )
    return f"By {x_title}: {'; '.join(said)}." if said else ""


def _of_column(curves: list[Curve], figure: str) -> str:
    show = shower(figure)
    shapes = [shape_of(curve, figure) for curve in curves]
    if len(curves[0].xs) == 1 and len(curves) == 1:
        return ""
    if len(curves) == 1:
        return _clause([shapes[0]], show) or _best(curves, show, figure)
    alike = alike_at(curves)
    written_alike = {x: same or _is_written_alike(curves, x, show) for x, same in alike.items()}
    if alike and all(written_alike.values()):
        text = _of_all(curves, shapes, show) or _best(curves, show, figure)
        return f"The curves lie within {ALIKE:.0%} of each other everywhere; {text}"
    parts = [_same_up_to(written_alike), *_clauses(shapes, show)]
    parts.append(_at_the_end(curves, show, figure))
    said = [part for part in parts if part]
    return "; ".join(said) or _best(curves, show, figure)


def _of_all(curves: list[Curve], shapes: list[CurveShape], show: Show) -> str:
    """Return what curves have in common that lie near each other; "" where they differ in shape."""
    if all(shape.kind == "flat" for shape in shapes):
        ys = [y for curve in curves for y in curve.ys]
        least, most = show(min(ys)), show(max(ys))
        return f"all stay at {most}" if least == most else f"all stay between {least} and {most}"
    if len({(shape.kind, shape.from_x, shape.to_x) for shape in shapes}) > 1:
        return ""
    return _clause(shapes, show, subject="all")


def _is_written_alike(curves: list[Curve], x: Any, show: Show) -> bool:
    return len({show(curve.ys[curve.xs.index(x)]) for curve in curves}) == 1


def _same_up_to(alike: dict[Any, bool]) -> str:
    """Say up to where, or from where, it makes no difference which curve one is on."""
    xs, same = list(alike), list(alike.values())
    many = sum(same)
    if many < 2:
        return ""
    if all(same[:many]):
        return f"up to {X}{_name(xs[many - 1])} the curves lie within {ALIKE:.0%} of each other"
    if all(same[-many:]):
        return f"from {X}{_name(xs[-many])} on the curves lie within {ALIKE:.0%} of each other"
    return ""


def _clauses(shapes: list[CurveShape], show: Show) -> list[str]:
    """Return a clause for each shape that several curves have between the same points, the best first."""
    groups: dict[tuple[Kind, Any, Any], list[CurveShape]] = {}
    for shape in shapes:
        if shape.kind in WORTH and shape.kind != "flat":
            groups.setdefault((shape.kind, shape.from_x, shape.to_x), []).append(shape)
    first = {kind: at for at, kind in enumerate(WORTH)}
    ordered = sorted(groups.values(), key=lambda group: first[group[0].kind])
    return [_clause(group, show) for group in ordered[:CLAUSES_MAX]]


def _clause(group: Sequence[CurveShape], show: Show, *, subject: str | None = None) -> str:
    """Return what curves of one shape do, in words; "" for a shape that is worth none."""
    names = _listed([shape.series for shape in group]) if subject is None else subject
    said = _of_one(group[0], show) if len(group) == 1 else _of_many(group, show)
    is_alone = len(group) == 1 and names == "all"
    return said if not said or is_alone else f"{names} {said}"


def _of_one(shape: CurveShape, show: Show) -> str:
    between = f"between {X}{_name(shape.from_x)} and {_name(shape.to_x)}"
    start, end = show(shape.from_y), show(shape.to_y)
    words: dict[str, str] = {
        "cliff": f"falls off {between}, from {start} to {end} ({-shape.fall:.0%})",
        "left floor": f"leaves its floor {between}, from {start} to {end}",
        "peak": f"is highest at {X}{_name(shape.from_x)}, {start}, and falls to {end}",
        "knee": f"gains little beyond {X}{_name(shape.to_x)}, where it has {end}",
        "reached floor": f"comes down from {start} to {end} by {X}{_name(shape.to_x)}",
        "decline": f"falls steadily, from {start} to {end}",
        "flat": f"stays at {end}" if start == end else f"stays between {start} and {end}",
    }
    return words.get(shape.kind, "")


def _of_many(group: Sequence[CurveShape], show: Show) -> str:
    one = group[0]
    between = f"between {X}{_name(one.from_x)} and {_name(one.to_x)}"
    least, most = (show(pick(shape.to_y for shape in group)) for pick in (min, max))
    ends = least if least == most else f"{least} to {most}"
    words: dict[str, str] = {
        "cliff": f"fall off {between}, by {_range([shape.fall for shape in group])}",
        "left floor": f"leave their floors {between}, and reach {ends} there",
        "peak": f"are highest at {X}{_name(one.from_x)}, and fall to {ends}",
        "knee": f"gain little beyond {X}{_name(one.to_x)}, where they have {ends}",
        "reached floor": f"come down to {ends} by {X}{_name(one.to_x)}",
        "decline": f"fall steadily, to {ends}",
    }
    return words.get(one.kind, "")


def _at_the_end(curves: list[Curve], show: Show, figure: str) -> str:
    """Say who is ahead and who is last at the last point that all have."""
    common = [x for x in curves[0].xs if all(x in curve.xs for curve in curves)]
    if not common:
        return ""
    last = {curve.series: curve.ys[curve.xs.index(common[-1])] for curve in curves}
    best, worst = max(last, key=lambda name: last[name]), min(last, key=lambda name: last[name])
    if is_cost(figure):
        best, worst = worst, best
    if is_alike(list(last.values())) or show(last[best]) == show(last[worst]):
        return ""
    said = f"{_quoted(best)} has {show(last[best])}, {_quoted(worst)} {show(last[worst])}"
    return f"at {X}{_name(common[-1])} {said}"


def _best(curves: list[Curve], show: Show, figure: str) -> str:
    """Return the best point of all curves."""
    pick = min if is_cost(figure) else max
    every = [(y, curve.series, x) for curve in curves for x, y in zip(curve.xs, curve.ys, strict=True)]
    y, series, x = pick(every, key=lambda each: each[0])
    who = "" if series == "all" else f" with {_quoted(series)}"
    return f"{'lowest' if is_cost(figure) else 'highest'}{who} at {X}{_name(x)}: {show(y)}"


def _range(shares: list[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low.rstrip('%')} to {high}"


def _listed(names: list[str]) -> str:
    quoted = [_quoted(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _quoted(name: str) -> str:
    """Return a curve's name, in quotes where it is several words or looks like a value."""
    return f"“{name}”" if " " in name or name[:1].isdigit() else name


def _name(x: Any) -> str:
    return f"{x:,.12g}" if isinstance(x, int | float) else str(x)
