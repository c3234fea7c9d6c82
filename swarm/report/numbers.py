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
    if abs(value) < LEAST_S:
        return "0 s"
    size = _rounded(abs(value))
    if size < 1e-3:
        return f"{three(value * 1e6)} µs"
    if size < 1:
        return f"{three(value * 1e3)} ms"
    if size < 120:
        return f"{three(value)} s"
    minutes = round(value / 60)
    if minutes < 120:
        return f"{three(value / 60)} min"
    return f"{three(value / 3600)} h"


def plain(value: float | None) -> str:
    """Return a number without a unit."""
    return UNKNOWN if value is None else three(value) if _rounded(abs(value)) < 1000 else count(value)


def three(value: float) -> str:
    """Return a number by three digits, and by all before the point: 0.123, 12.3, 1,234; never 1e+03."""
    return f"{value:,.0f}" if _rounded(abs(value)) >= 1000 else f"{value:.3g}"


def _scaled(value: float) -> str:
    size = _rounded(abs(value))
    for factor, prefix in _PREFIXES:
        if size >= factor:
            return f"{three(value / factor)}{prefix}"
    return three(value)


def _rounded(value: float) -> float:
    """Return a number by three digits: its unit follows from what is shown, so that 999.9 µs are 1 ms."""
    return float(f"{value:.3g}")
