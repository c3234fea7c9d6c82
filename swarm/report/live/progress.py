"""Progress of long work on a terminal: one line that is drawn over; silence where none is there."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO


class Progress:
    """Counts steps of known weight, such as files by their size; silent when there is one step."""

    def __init__(self, verb: str, weights: Sequence[int], stream: TextIO) -> None:
        self._verb = verb
        self._weights = weights
        self._total = max(1, sum(weights))
        self._done = 0
        self._steps = 0
        self._shown = -1
        self._stream = stream
        self._is_terminal = stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_terminal and self._shown >= 0:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def step(self, detail: str) -> None:
        """Count one step as done, and show it if the display would change."""
        self._done += self._weights[self._steps]
        self._steps += 1
        share = self._done / self._total
        shown = int(share * 100)
        if shown != self._shown and len(self._weights) > 1:
            self._shown = shown
            self.note(f"{self._verb} {self._steps} of {len(self._weights)} files ({share:.0%}), {detail}")

    def note(self, text: str) -> None:
        """Show what is done now, unless there was nothing to show before it."""
        if self._shown >= 0 and self._is_terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
