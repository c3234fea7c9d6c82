"""The points of a sweep as they end, on the terminal that it was started from: lines, a bar below them."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.live import Live as Screen

from swarm.report.live.terminal import progress


class Points:
    """Says which points have ended; on a terminal, also how many are left and how long they will take."""

    def __init__(self, name: str, total: int, stream: TextIO) -> None:
        self._name = name
        self._total = total
        self._done = 0
        self._began_s = time.monotonic()
        self._stream = stream
        self._screen: Screen | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty() and self._total:
            console = Console(file=self._stream, highlight=False)
            self._screen = Screen(console=console, auto_refresh=False, transient=True)
            self._screen.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self._screen.stop()
            self._screen = None

    @property
    def wall_s(self) -> float:
        """How long the points have taken so far."""
        return time.monotonic() - self._began_s

    def ended(self, text: str) -> None:
        """Tell of one more point that has ended."""
        self._done += 1
        if self._screen is None:
            print(text, file=self._stream, flush=True)
            return
        self._screen.console.print(text, soft_wrap=True, markup=False)
        self._draw()

    def _draw(self) -> None:
        assert self._screen is not None
        points = {"done": self._done, "total": self._total, "wall_s": self.wall_s}
        said: dict[str, Any] = {"name": self._name, "points": points, "until_s": None}
        self._screen.update(progress(said), refresh=True)
