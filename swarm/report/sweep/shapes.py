"""What a comparison chart shows, in sentences computed from its points: peaks, cliffs, who is above whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from swarm.report.numbers import plain, seconds, share, three
from swarm.report.sweep.points import ZONES, is_cost

Show = Callable[[float | None], str]
ALIKE = 0.10
"""Curves whose least is within this share of their greatest are called alike."""
CLIFF = 0.20
"""A fall between neighbouring points by more than this share of the curve's peak is called a cliff."""
NAMED_MAX = 8
"""Curves that are described one by one; of more, the first and the last."""


@dataclass(frozen=True, slots=True)
class CurveShape:
    """One curve: where it is highest and where it falls most."""

    series: str
    peak_x: Any
    peak: float
    last: float
    least: float
    cliff_from: Any
    cliff_to: Any
    fall: float
    """The deepest fall, of one step or of steep steps in a row, as a share of the peak; 0: it never falls."""
    falls_throughout: bool
    """Whether steep steps follow each other from the first x to the last: a cliff there says nothing."""
    step_from: Any
    step_to: Any
    step_fall: float
    """The deepest fall of one step, as a share of the peak."""

    @property
    def has_cliff(self) -> bool:
        """Whether the curve falls off somewhere."""
        return self.fall > CLIFF


def shapes(rows: pd.DataFrame) -> list[CurveShape]:
    """Return the shape of each curve, in the order of the chart."""
    found = []
    for series, part in rows.groupby("series", sort=False):
        xs, ys = list(part["x"]), [float(y) for y in part["y"]]
        top = max(range(len(ys)), key=lambda at: ys[at])
        start, end = _steepest(ys)
        step = max(range(1, len(ys)), key=lambda at: ys[at - 1] - ys[at], default=0)
        before = max(0, step - 1)
        found.append(
            CurveShape(
                series=str(series),
                peak_x=xs[top],
                peak=ys[top],
                last=ys[-1],
                least=min(ys),
                cliff_from=xs[start],
                cliff_to=xs[end],
                fall=(ys[start] - ys[end]) / ys[top] if ys[top] > 0 else 0.0,
                falls_throughout=end - start == len(ys) - 1 > 1,
                step_from=xs[before],
                step_to=xs[step],
                step_fall=(ys[before] - ys[step]) / ys[top] if ys[top] > 0 else 0.0,
            )
        )
    return found


def _steepest(ys: list[float]) -> tuple[int, int]:
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


def alike_at(rows: pd.DataFrame, show: Show) -> dict[Any, bool]:
    """Return for each x that all curves have whether they are alike there, or written alike."""
    curves = rows["series"].nunique()
    found = {}
    for x, part in rows.groupby("x", sort=False):
        if len(part) == curves:
            least, most = float(part["y"].min()), float(part["y"].max())
            found[x] = least >= (1 - ALIKE) * most or show(least) == show(most)
    return found


def shower(figure: str) -> Show:
    """Return how values of a figure are written."""
    if figure.split(".")[0].endswith("_s"):
        return seconds
    return share if figure.endswith(("rate", "ratio")) or ".lost_to." in figure else plain


def sentences(rows: pd.DataFrame, *, x_title: str, y_title: str, figure: str, shows_zones: bool) -> list[str]:
    """Return what the chart shows for these numbers, one column after the other."""
    said: list[str] = []
    for column, part in rows.groupby("column", sort=False):
        lead = f"{column!s}: " if column else ""
        said += [lead + text for text in _of_column(part, x_title, y_title, figure)]
        if shows_zones:
            said += [lead + text for text in _of_zones(part, x_title)]
    return said


def _of_column(rows: pd.DataFrame, x_title: str, y_title: str, figure: str) -> list[str]:
    show = shower(figure)
    every = shapes(rows)
    said = []
    if len(every) > 1:
        said.append(_of_all(rows, every, x_title, show))
    shown = every if len(every) <= NAMED_MAX else [every[0], every[-1]]
    say = _of_cost if is_cost(figure) else _of_curve
    return said + [say(shape, x_title, y_title, show) for shape in shown]


def _of_all(rows: pd.DataFrame, every: list[CurveShape], x_title: str, show: Show) -> str:
    last_x = list(dict.fromkeys(rows["x"]))[-1]
    many = f"the highest and the lowest of the {len(every)} curves" if len(every) > 2 else "the 2 curves"
    apart = f"{many} {_apart(alike_at(rows, show), x_title)}"
    return f"{apart}; at {x_title} = {_name(last_x)}: {_order(every, show)}."


def _apart(alike: dict[Any, bool], x_title: str) -> str:
    """Say where curves are alike, given for each x, and where they are not."""
    same = [x for x, is_alike in alike.items() if is_alike]
    other = [x for x, is_alike in alike.items() if not is_alike]
    if not alike:
        return "have no point in common"
    if not same:
        return f"lie more than {ALIKE:.0%} apart everywhere"
    within = f"lie within {ALIKE:.0%} of each other"
    if not other:
        return f"{within} everywhere"
    xs = list(alike)
    if xs[: len(same)] == same:
        return f"{within} up to {x_title} = {_name(same[-1])}"
    if len(same) > 1 and xs[len(other) :] == same:
        return f"{within} from {x_title} = {_name(same[0])} on"
    but, places = ("but", other) if len(other) < len(same) else ("only", same)
    return f"{within} {but} at {x_title} = {', '.join(map(_name, places))}"


def _order(every: list[CurveShape], show: Show) -> str:
    """Return the curves by their last values from the top; those that are written alike are equal."""
    ordered = sorted(every, key=lambda shape: -shape.last)[:NAMED_MAX]
    text, above = "", None
    for shape in ordered:
        value = show(shape.last)
        sign = "" if above is None else " = " if value == above else " > "
        text, above = f"{text}{sign}{shape.series} {value}", value
    return text


def _of_curve(shape: CurveShape, x_title: str, y_title: str, show: Show) -> str:
    if show(shape.least) == show(shape.peak):
        return f"{shape.series}: {y_title} is {show(shape.peak)} everywhere."
    text = f"{shape.series}: {y_title} is highest, {show(shape.peak)}, at {x_title} = {_name(shape.peak_x)}"
    if shape.falls_throughout:
        most = (
            f", most between {_name(shape.step_from)} and {_name(shape.step_to)}, "
            f"where it loses {shape.step_fall:.0%} of its peak"
        )
        return f"{text}, and falls throughout to {show(shape.last)}{most}."
    if shape.has_cliff:
        return (
            f"{text}; its cliff lies between {_name(shape.cliff_from)} and {_name(shape.cliff_to)}, "
            f"where it loses {shape.fall:.0%} of that."
        )
    if shape.last < (1 - ALIKE) * shape.peak:
        return f"{text}, and falls without a cliff to {show(shape.last)}."
    if shape.last == shape.peak and shape.fall < ALIKE:
        return f"{text}, the last that was tried: it may go on rising."
    return f"{text}; it has no cliff."


def _of_cost(shape: CurveShape, x_title: str, y_title: str, show: Show) -> str:
    """Say how a figure that should stay low grows."""
    times = (
        f", {three(shape.peak / shape.least)} times its least, {show(shape.least)}" if shape.least > 0 else ""
    )
    highest = f"{show(shape.peak)}, at {x_title} = {_name(shape.peak_x)}"
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
