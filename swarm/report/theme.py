"""How every chart looks: type, spacing, and tones that read on a light page and on a dark one."""

from __future__ import annotations

import math
from typing import Any

from swarm.report.palette import GRID, TEXT

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"
PLOT_PX = 860
"""Width of a chart in a picture, and on a page that has room for it."""
TIME_TICKS_MAX = 12
"""So many labels of a time axis stand beside each other without touching."""
_STEPS_S = {
    "s": (0.1, 0.2, 0.5, 1, 2, 5, 10, 15),
    "min": (60, 120, 300, 600),
    "h": (1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800),
}
"""Between ticks, by the unit of all labels of an axis."""
_UNITS_S = {"s": 1, "min": 60, "h": 3600}
_ENDS_S = {"s": 180, "min": 7200}
"""An axis that ends later has the next unit."""
_END, _SPAN = "domain('x')[1]", "(domain('x')[1] - domain('x')[0])"


def _by_unit(of: dict[str, str]) -> str:
    """Return the expression that is the one of the axis' unit."""
    seconds, minutes = f"{_END} < {_ENDS_S['s']}", f"{_END} < {_ENDS_S['min']}"
    return f"({seconds} ? {of['s']} : {minutes} ? {of['min']} : {of['h']})"


def _step(steps_s: tuple[float, ...]) -> str:
    """Return the expression of the smallest step that leaves no more ticks than that; else of the largest."""
    chosen = [f"{_SPAN} <= {TIME_TICKS_MAX * step_s:g} ? {step_s:g} : " for step_s in steps_s[:-1]]
    return f"({''.join(chosen)}{steps_s[-1]:g})"


_TIME_STEP = _by_unit({unit: _step(steps_s) for unit, steps_s in _STEPS_S.items()})
_FIRST = f"ceil(domain('x')[0] / {_TIME_STEP}) * {_TIME_STEP}"
CLOCK_TICKS = f"sequence({_FIRST}, {_END} + {_TIME_STEP} / 1000, {_TIME_STEP})"
"""Ticks of the run's time, at whole steps of one unit, whatever a menu makes of the axis."""
CLOCK = "datum.value == 0 ? '0' : " + _by_unit(
    {unit: f"format(datum.value / {size}, '.3~g') + ' {unit}'" for unit, size in _UNITS_S.items()}
)
"""Axis labels of the run's time."""
SPAN = (
    "datum.value == 0 ? '0' : datum.value < 0.001 ? format(datum.value * 1e6, '.3~g') + ' µs'"
    " : datum.value < 1 ? format(datum.value * 1e3, '.3~g') + ' ms'"
    " : datum.value < 60 || (datum.value < 300 && datum.value % 60 != 0)"
    " ? format(datum.value, '.3~g') + ' s'"
    " : datum.value < 7200 ? format(datum.value / 60, '.3~g') + ' min'"
    " : format(datum.value / 3600, '.3~g') + ' h'"
)
"""Axis labels of latencies; their ticks are those of `span_ticks` and `log_span_ticks`."""
_BELOW_S = tuple(digit * 10.0**power for power in range(-6, 0) for digit in (1, 2, 5))
_SPAN_STEPS_S = (*_BELOW_S, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 36000, 86400)
"""Whole amounts of the unit that they are written in: 1, 2, 5, 10, 30 s, 1, 2, 5, 10, 30 min, 1, 2, 5 h."""
SPAN_TICKS_MAX = 6


def span_ticks(most_s: float) -> list[float]:
    """Return the ticks of a linear axis of times from 0 to `most_s`."""
    steps = [step for step in _SPAN_STEPS_S if most_s <= step * SPAN_TICKS_MAX]
    step = float(steps[0]) if steps else float(_SPAN_STEPS_S[-1])
    return [float(f"{at * step:.6g}") for at in range(int(most_s / step + 1e-9) + 1)]


def log_span_ticks(least_s: float, most_s: float) -> list[float]:
    """Return the ticks of a logarithmic axis of times: at most twice as many as a linear one has."""
    found = [float(f"{step:.6g}") for step in _SPAN_STEPS_S if least_s <= step <= most_s]
    if len(found) < 2:
        # Fewer than two labels make no scale: the ends are labelled, too, where they have room.
        room = most_s / least_s if least_s > 0 else 1.0
        ends = (
            end
            for end in (least_s, most_s)
            if all(abs(math.log(end / at)) > 0.2 * math.log(room) for at in found)
        )
        return sorted({*found, *ends})
    return found[:: max(1, -(-len(found) // (2 * SPAN_TICKS_MAX)))]


LOG_TICKS_LEAST = 3


def log_ticks(least: float, most: float) -> list[float]:
    """Return the ticks of a logarithmic axis of amounts: powers of ten, with 2 and 5 of each where few."""
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    for chosen in (steps, (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [step * 10.0**power for power in decades for step in chosen]
        within = [tick for tick in ticks if least <= tick <= most]
        if len(within) >= LOG_TICKS_LEAST:
            return within
    return within or [least, most]


TOKENS = (
    "datum.value == 0 ? '0' : abs(datum.value) < 1 ? format(datum.value, '.3~g')"
    " : format(datum.value, '.3~s')"
)
"""Axis labels of amounts: k, M and G above 1, and plain below, where SI has m for thousandths."""

PICTURE_TITLE = {
    "anchor": "start",
    "offset": 12,
    "color": "#22262b",
    "fontSize": 15,
    "fontWeight": 600,
    "subtitleColor": TEXT,
    "subtitleFontSize": 11,
    "subtitlePadding": 4,
}
"""A picture's title and the line of its source, on white; a page has headings of its own."""

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "titleFontWeight": "normal",
        "titleFontSize": 12,
        "labelFontSize": 11,
        "gridColor": GRID,
        "gridOpacity": 0.22,
        "domainColor": GRID,
        "domainOpacity": 0.5,
        "tickColor": GRID,
        "tickOpacity": 0.5,
        "labelPadding": 5,
        "titlePadding": 10,
    },
    "text": {"color": TEXT},
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "titleAnchor": "end", "minExtent": 48},
    "legend": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "orient": "top",
        "symbolStrokeWidth": 2.5,
        "labelLimit": 400,
        "columnPadding": 18,
        "offset": 6,
    },
    "title": {"color": TEXT, "fontSize": 12, "fontWeight": "normal", "anchor": "start", "offset": 6},
    "line": {"strokeWidth": 2, "strokeJoin": "round", "strokeCap": "round"},
    "concat": {"spacing": 14},
}
