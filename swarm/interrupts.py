"""SIGINT and SIGTERM as a wish to stop, not an end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from swarm.errors import Interrupted


class Interrupts:
    """Remembers the first SIGINT or SIGTERM; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.is_asked = False
        """Whether the wish came from somebody who watches, and not as a signal."""
        self._before: dict[int, Any] = {}
        self._cuts = False

    def __enter__(self) -> Interrupts:
        """Begin to listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def ask(self) -> None:
        """Wish for the end as a first SIGINT does: somebody who watches has asked for it."""
        if self.received is None:
            self.received, self.is_asked = signal.SIGINT, True

    def heed(self) -> None:
        """Raise Interrupted if a signal has come: where nothing has begun that could be brought to an end."""
        if self.received is not None:
            raise Interrupted(self.received)

    def code(self, code: int) -> int:
        """Return a process's exit code, which tells of a signal even if what it came to was whole by then."""
        return code if self.received is None else 128 + self.received

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal end what goes on here wherever it is, and raise Interrupted from here.

        For waits that end by nothing else, where nothing has begun that could be brought to an end.
        """
        self._cuts = True
        try:
            yield
        except KeyboardInterrupt:
            # Ray and asyncio let this exception out of their waits, and no other that a handler raises.
            if self.received is None:
                raise
            raise Interrupted(self.received) from None
        finally:
            self._cuts = False

    def __exit__(self, *_: object) -> None:
        """Leave the signals as they were found."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        self.received = number
        if self._cuts:
            raise KeyboardInterrupt


def end_on_signals() -> None:
    """Let SIGINT and SIGTERM end this process in order: what is open is closed, the code is 128 and more."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def ignore_signals() -> None:
    """Let no signal change how this process ends: what it had to do is done."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def _end(number: int, _: FrameType | None) -> NoReturn:
    print(f"swarm: ended by {signal.Signals(number).name}", file=sys.stderr)
    raise SystemExit(128 + number)
