"""The view of a run on the whole terminal, drawn by a process beside it: the driver draws nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

ENDING_S_MAX = 3.0
"""What the view has to leave the terminal as it was."""


def can_be_shown() -> bool:
    """Whether textual is here, and a terminal that it can draw on and be typed at."""
    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    return is_terminal and os.environ.get("TERM", "dumb") != "dumb" and find_spec("textual") is not None


@contextmanager
def screen_beside(folder: Path, *, wanted: bool) -> Iterator[Callable[[], bool]]:
    """Give the terminal to a view of the folder; yield whether it is there at the moment.

    What this process writes to standard error meanwhile is held back, and written when the view is gone:
    at the end, or when somebody leaves it.
    """
    if not wanted:
        yield lambda: False
        return
    # The view ends when nothing holds the other end any more, however this process ends.
    watched, held = os.pipe()
    command = [sys.executable, "-m", "swarm", "watch", str(folder), "--terminal"]
    command += ["--beside", str(os.getpid()), "--held", str(watched)]
    with tempfile.TemporaryFile() as kept, _HeldBack(kept.fileno()) as stderr:
        process = subprocess.Popen(
            command, stderr=stderr.real, stdout=subprocess.DEVNULL, pass_fds=(watched,)
        )
        os.close(watched)
        threading.Thread(target=_let_go, args=(process, stderr), daemon=True).start()
        try:
            yield lambda: stderr.is_held
        finally:
            os.close(held)
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_S_MAX)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()


def _let_go(process: subprocess.Popen[bytes], stderr: _HeldBack) -> None:
    process.wait()
    stderr.release()


class _HeldBack:
    """Standard error, kept in a file as long as the terminal is somebody else's."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self.real = os.dup(sys.stderr.fileno())
        self.is_held = False

    def __enter__(self) -> _HeldBack:
        sys.stderr.flush()
        os.dup2(self._kept, 2)
        self.is_held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        os.close(self.real)

    def release(self) -> None:
        """Write what was kept, and let the rest through."""
        with self._lock:
            if not self.is_held:
                return
            self.is_held = False
            sys.stderr.flush()
            os.dup2(self.real, 2)
            with os.fdopen(os.dup(self._kept), "rb") as kept, os.fdopen(os.dup(2), "wb") as into:
                kept.seek(0)
                shutil.copyfileobj(kept, into)
