"""Counts by upper bound, as Prometheus has them, and the bounds of vLLM's, so that its dashboards fit."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
ITL_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0),
    *(40.0, 80.0),
)
REQUEST_BOUNDS_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0),
    *(480.0, 960.0, 1920.0, 7680.0),
)
STEP_BOUNDS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
COUNT_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0)
LATENESS_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def token_bounds(most: float) -> tuple[float, ...]:
    """Return 1, 2, 5, 10, ... up to `most`."""
    bounds: list[float] = []
    scale = 1
    while True:
        for digit in (1, 2, 5):
            if digit * scale > most:
                return tuple(bounds)
            bounds.append(float(digit * scale))
        scale *= 10


class Histogram:
    """Counts by upper bound."""

    __slots__ = ("_bounds", "_counts", "_last", "_place", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self._last = -1.0
        self._place = 0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value."""
        if value != self._last:
            self._last = value
            self._place = bisect_left(self._bounds, value)
        self._counts[self._place] += times
        self.total += value * times

    def lines(self, name: str, label: str) -> list[str]:
        """Return the samples."""
        sums = list(accumulate(self._counts))
        bounds = [*map(str, self._bounds), "+Inf"]
        return [
            *(
                f'{name}_bucket{{{label},le="{bound}"}} {count}'
                for bound, count in zip(bounds, sums, strict=True)
            ),
            f"{name}_count{{{label}}} {sums[-1]}",
            f"{name}_sum{{{label}}} {self.total:.9g}",
        ]
