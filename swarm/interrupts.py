"""SIGINT and SIGTERM as a wish to stop, not an end."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from swarm.errors import Interrupted


class Interrupts:
    """Remembers the first SIGINT or SIGTERM; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Begin to listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def heed(self) -> None:
        """Raise Interrupted if a signal has come: where nothing has begun that could be brought to an end."""
        if self.received is not None:
            raise Interrupted(self.received)

    def __exit__(self, *_: object) -> None:
        """Leave the signals as they were found."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        self.received = number
