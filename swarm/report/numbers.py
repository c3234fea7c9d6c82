"""Numbers as people read them: three digits, a unit, and a dash where nothing was observed."""

from __future__ import annotations

UNKNOWN = "–"
LEAST_S = 5e-7
"""Times and differences below this are what arithmetic leaves, and written as none."""
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """Return a count: 1,234 or 12.3M."""
    if value is None:
        return UNKNOWN
    if abs(value) < 100_000:
        return f"{value:,.0f}"
    return _scaled(value)


def rate(value: float | None, unit: str) -> str:
    """Return an amount for each second, or any other scaled number with its unit."""
    if value is None:
        return UNKNOWN
    return f"{_scaled(value)} {unit}"


def share(value: float | None) -> str:
    """Return a share as a percentage."""
    # A difference that rounds to nothing has no sign: -0.0 + 0.0 is 0.0.
    return UNKNOWN if value is None else f"{round(value * 100, 1) + 0.0:.1f} %"


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits it."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size < LEAST_S:
        return "0 s"
    if size < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if size < 1:
        return f"{value * 1e3:.3g} ms"
    if size < 120:
        return f"{value:.3g} s"
    minutes = round(value / 60)
    if minutes < 120:
        return f"{value / 60:.3g} min"
    return f"{value / 3600:.3g} h"


def plain(value: float | None) -> str:
    """Return a number without a unit."""
    return UNKNOWN if value is None else f"{value:.3g}" if abs(value) < 1000 else count(value)


def _scaled(value: float) -> str:
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"
