"""What a comparison chart shows, in sentences computed from its points: peaks, cliffs, who is above whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from swarm.report.numbers import plain
from swarm.report.sweep_points import ZONES

ALIKE = 0.10
"""Curves whose least is within this share of their greatest are called alike."""
CLIFF = 0.20
"""A fall between neighbouring points by more than this share of the curve's peak is called a cliff."""
NAMED_MAX = 8
"""Curves that are described one by one; of more, the first and the last."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One curve: where it is highest and where it falls most."""

    series: str
    peak_x: Any
    peak: float
    last: float
    least: float
    cliff_from: Any
    cliff_to: Any
    fall: float
    """The greatest fall between neighbouring points, as a share of the peak; 0: the curve never falls."""

    @property
    def has_cliff(self) -> bool:
        """Whether the curve falls off somewhere."""
        return self.fall > CLIFF


def shapes(rows: pd.DataFrame) -> list[Shape]:
    """Return the shape of each curve, in the order of the chart."""
    found = []
    for series, part in rows.groupby("series", sort=False):
        xs, ys = list(part["x"]), [float(y) for y in part["y"]]
        top = max(range(len(ys)), key=lambda at: ys[at])
        steps = [(ys[at] - ys[at + 1], at) for at in range(len(ys) - 1)]
        drop, at = max(steps, default=(0.0, 0))
        found.append(
            Shape(
                series=str(series),
                peak_x=xs[top],
                peak=ys[top],
                last=ys[-1],
                least=min(ys),
                cliff_from=xs[at],
                cliff_to=xs[min(at + 1, len(xs) - 1)],
                fall=max(0.0, drop / ys[top]) if ys[top] > 0 else 0.0,
            )
        )
    return found


def alike_until(rows: pd.DataFrame) -> Any:
    """Return the last x up to which all curves are alike, or None where they part at once."""
    last = None
    curves = rows["series"].nunique()
    for x, part in rows.groupby("x", sort=False):
        if len(part) == curves and part["y"].min() < (1 - ALIKE) * part["y"].max():
            break
        last = x
    return last


def sentences(
    rows: pd.DataFrame, *, x_title: str, y_title: str, shows_zones: bool, more_is_better: bool
) -> list[str]:
    """Return what the chart shows for these numbers, one column after the other."""
    said: list[str] = []
    for column, part in rows.groupby("column", sort=False):
        lead = f"{column!s}: " if column else ""
        said += [lead + text for text in _of_column(part, x_title, y_title, more_is_better)]
        if shows_zones:
            said += [lead + text for text in _of_zones(part, x_title)]
    return said


def _of_column(rows: pd.DataFrame, x_title: str, y_title: str, more_is_better: bool) -> list[str]:
    every = shapes(rows)
    said = []
    if len(every) > 1:
        said.append(_of_all(rows, every, x_title))
    shown = every if len(every) <= NAMED_MAX else [every[0], every[-1]]
    say = _of_curve if more_is_better else _of_cost
    return said + [say(shape, x_title, y_title) for shape in shown]


def _of_all(rows: pd.DataFrame, every: list[Shape], x_title: str) -> str:
    until = alike_until(rows)
    xs = list(dict.fromkeys(rows["x"]))
    apart = (
        f"all {len(every)} curves lie within {ALIKE:.0%} of each other everywhere"
        if until == xs[-1]
        else f"the {len(every)} curves part at once"
        if until is None
        else f"all {len(every)} curves lie within {ALIKE:.0%} of each other up to {x_title} = {_name(until)}"
    )
    last = sorted(every, key=lambda shape: -shape.last)
    order = " > ".join(f"{shape.series} {plain(shape.last)}" for shape in last[:NAMED_MAX])
    return f"{apart}; at {x_title} = {_name(xs[-1])}: {order}."


def _of_curve(shape: Shape, x_title: str, y_title: str) -> str:
    text = f"{shape.series}: {y_title} is highest, {plain(shape.peak)}, at {x_title} = {_name(shape.peak_x)}"
    if shape.has_cliff:
        return (
            f"{text}; its cliff lies between {_name(shape.cliff_from)} and {_name(shape.cliff_to)}, "
            f"where it loses {shape.fall:.0%} of that."
        )
    if shape.last < (1 - ALIKE) * shape.peak:
        return f"{text}, and falls without a cliff to {plain(shape.last)}."
    return f"{text}; it has no cliff."


def _of_cost(shape: Shape, x_title: str, y_title: str) -> str:
    """Say how a figure that should stay low grows."""
    times = (
        f", {shape.peak / shape.least:.3g} times its least, {plain(shape.least)}" if shape.least > 0 else ""
    )
    highest = f"{plain(shape.peak)}, at {x_title} = {_name(shape.peak_x)}"
    return f"{shape.series}: {y_title} is highest, {highest}{times}."


def _of_zones(rows: pd.DataFrame, x_title: str) -> list[str]:
    said = []
    for series, part in rows.groupby("series", sort=False):
        places = {
            zone: [_name(x) for x, found in zip(part["x"], part["zone"], strict=True) if found == zone]
            for zone in ZONES
        }
        texts = [f"{zone} ({ZONES[zone]}) at {', '.join(xs)}" for zone, xs in places.items() if xs]
        said.append(f"{series}: zone " + "; ".join(texts) + f" ({x_title}).")
    return said


def _name(x: Any) -> str:
    return f"{x:,.12g}" if isinstance(x, int | float) else str(x)
