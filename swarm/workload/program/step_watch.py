"""An end for steps of programs that do not return: a program may neither wait nor work long by itself.

This reads the machine's time, and nothing but the end of a faulty program comes of it.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STEP_S_MAX = 1.0
"""Longest time between two effects of one program: thousands of agents on its loop stand still for it."""
LOOK_S = 0.25


class StepTooLong(Exception):
    """Raised inside a step that goes on and on."""


class StepWatch:
    """Watches the steps that threads are in; one thread looks at all of them."""

    def __init__(self) -> None:
        self._since_s: dict[int, float] = {}
        self._interrupted: set[int] = set()
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Raise StepTooLong in or after the block if it takes longer than `STEP_S_MAX`."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._look, name="swarm-step-watch", daemon=True)
            self._watcher.start()
        thread, since_s = threading.get_ident(), time.monotonic()
        self._since_s[thread] = since_s
        try:
            yield
        finally:
            with self._lock:
                del self._since_s[thread]
                if thread in self._interrupted:
                    self._interrupted.discard(thread)
                    _interrupt(thread, None)
        if time.monotonic() - since_s > STEP_S_MAX:
            raise StepTooLong

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_S)
            with self._lock:
                now_s = time.monotonic()
                for thread, since_s in list(self._since_s.items()):
                    if now_s - since_s > STEP_S_MAX and thread not in self._interrupted:
                        self._interrupted.add(thread)
                        _interrupt(thread, StepTooLong)


def _interrupt(thread: int, error: type[BaseException] | None) -> None:
    """Let an exception be raised in a thread at its next instruction; None takes it back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
