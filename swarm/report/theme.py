"""How every chart looks: type, spacing, and tones that read on a light page and on a dark one."""

from __future__ import annotations

from typing import Any

from swarm.report.palette import GRID, TEXT

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif"
TIME_TICKS = 12
"""About so many labels of a time axis stand beside each other without touching."""
CLOCK = (
    "datum.value >= 7200 ? format(datum.value / 3600, '.3~g') + ' h'"
    " : datum.value >= 180 ? format(datum.value / 60, '.3~g') + ' min'"
    " : format(datum.value, '.3~g') + ' s'"
)
"""Axis labels of the run's time."""
SPAN = (
    "datum.value == 0 ? '0' : datum.value < 0.001 ? format(datum.value * 1e6, '.3~g') + ' µs'"
    " : datum.value < 1 ? format(datum.value * 1e3, '.3~g') + ' ms'"
    " : datum.value < 120 ? format(datum.value, '.3~g') + ' s'"
    " : format(datum.value / 60, '.3~g') + ' min'"
)
"""Axis labels of latencies."""
TOKENS = "datum.value == 0 ? '0' : format(datum.value, '.3~s')"

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
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "titleAnchor": "end"},
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
