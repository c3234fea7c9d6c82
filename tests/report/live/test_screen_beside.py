"""The view of a run on a terminal of its own: drawn by a process beside, over when its run is over."""

import os
import pty
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytest.importorskip("textual")

ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
RUN = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from swarm.report.live.screen_beside import can_be_shown, screen_beside
    assert can_be_shown()
    with screen_beside(Path(sys.argv[1]), wanted=True) as is_there:
        print("said meanwhile", file=sys.stderr, flush=True)
        until = time.monotonic() + float(sys.argv[2])
        while time.monotonic() < until and is_there():
            time.sleep(0.05)
        print(f"still there: {is_there()}", file=sys.stderr, flush=True)
    print("last", file=sys.stderr, flush=True)
    """
)


class Terminal:
    """A terminal of 80 by 24 with a program on it; its standard output goes elsewhere."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder), str(seconds)],
            stdin=slave, stderr=slave, stdout=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.shown = b""

    def until(self, wanted: bytes, within_s: float = 60.0) -> bytes:
        """Return what was written up to now, once it holds what is wanted."""
        end_s = time.monotonic() + within_s
        while wanted not in self.shown:
            assert time.monotonic() < end_s, self.shown[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.master, 65_536)
                except OSError:
                    break
        assert wanted in self.shown, self.shown[-2000:]
        return self.shown

    def press(self, key: str) -> None:
        """Type a key."""
        os.write(self.master, key.encode())


@pytest.mark.slow
def test_what_is_said_meanwhile_is_held_back_until_the_view_is_gone(going_run) -> None:
    going_run.until(300.0)
    terminal = Terminal(going_run.path, 8.0)
    assert b"said meanwhile" not in terminal.until(b"effective TTFT")
    shown = terminal.until(b"last")
    assert shown.index(ENTERED) < shown.index(LEFT) < shown.index(b"said meanwhile") < shown.index(b"last")
    assert b"still there: True" in shown and terminal.process.wait() == 0


@pytest.mark.slow
def test_whoever_leaves_the_view_sees_lines_again(going_run) -> None:
    going_run.until(300.0)
    terminal = Terminal(going_run.path, 60.0)
    terminal.until(b"effective TTFT")
    terminal.press("q")
    shown = terminal.until(b"last")
    assert b"still there: False" in shown and shown.index(LEFT) < shown.index(b"said meanwhile")
    terminal.process.wait()


@pytest.mark.slow
def test_a_killed_run_gives_the_terminal_back(going_run) -> None:
    going_run.until(300.0)
    terminal = Terminal(going_run.path, 60.0)
    terminal.until(b"effective TTFT")
    terminal.process.kill()
    terminal.until(LEFT)
