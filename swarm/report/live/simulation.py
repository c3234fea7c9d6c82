"""A simulation while it runs: a view or a line on stderr now and then, and an ear for Ctrl-C."""

from __future__ import annotations

import time
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live as Screen

from swarm.config.experiment import Experiment
from swarm.interrupts import Interrupts
from swarm.report.live.course import Course
from swarm.report.live.terminal import view
from swarm.report.numbers import count, seconds

TERMINAL_EVERY_S = 0.5
ELSEWHERE_EVERY_S = 10.0
TOLD_EVERY_S = 0.5
HISTORY = 120


class Watching:
    """Shows how far a simulation is, and ends it once a signal has come."""

    def __init__(
        self, experiment: Experiment, interrupts: Interrupts, stream: TextIO, course: Course
    ) -> None:
        """`course` is told as well, for those who watch from elsewhere."""
        self._name = experiment.name
        self._course = course
        self._told_s = 0.0
        self._until_s = experiment.load.duration_s
        self._interrupts = interrupts
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._every_s = TERMINAL_EVERY_S if self._is_terminal else ELSEWHERE_EVERY_S
        self._began_s = self._shown_s = time.monotonic()
        self._screen: Screen | None = None
        self._open: list[float | None] = []
        """Open requests at each look, for a sparkline."""

    def goes_on(self, now_s: float, ended_count: int, open_count: int) -> bool:
        """Show the state if it is time to; return False once a signal has come."""
        wall_s = time.monotonic()
        if wall_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = wall_s
            passed_s = wall_s - self._began_s
            self._course.tell("step", now_s=now_s, ended=ended_count, open=open_count, wall_s=passed_s)
            if self._course.is_stop_asked:
                self._interrupts.ask()
        if wall_s - self._shown_s >= self._every_s:
            self._shown_s = wall_s
            self._show(now_s, ended_count, open_count, wall_s - self._began_s)
        return self._interrupts.received is None

    def close(self) -> None:
        """Wipe the view away, where there was one."""
        if self._screen is not None:
            self._screen.stop()
            self._screen = None

    def _show(self, now_s: float, ended_count: int, open_count: int, passed_s: float) -> None:
        if not self._is_terminal:
            self._stream.write(self._line(now_s, ended_count, open_count, passed_s) + "\n")
            self._stream.flush()
            return
        if self._screen is None:
            console = Console(file=self._stream, highlight=False)
            self._screen = Screen(console=console, auto_refresh=False, transient=True)
            self._screen.start()
        self._open = [*self._open, open_count][-HISTORY:]
        self._screen.update(view(self._state(now_s, ended_count, open_count, passed_s)), refresh=True)

    def _state(self, now_s: float, ended_count: int, open_count: int, passed_s: float) -> dict[str, Any]:
        return {
            "name": self._name,
            "now_s": now_s,
            "until_s": self._until_s,
            "has_ended": False,
            "points": {},
            "wall_s": passed_s,
            "ended": ended_count,
            "open": open_count,
            "recent": {"open": self._open},
            "failures": {},
        }

    def _line(self, now_s: float, ended_count: int, open_count: int, passed_s: float) -> str:
        until = "" if self._until_s is None else f" of {seconds(self._until_s)}"
        line = (
            f"simulated {seconds(now_s)}{until}  requests {count(ended_count)}  "
            f"open {count(open_count)}  {ended_count / passed_s:,.0f} req/s"
        )
        if self._until_s is None or not 0.0 < now_s < self._until_s:
            return line
        return f"{line}  {seconds(passed_s * (self._until_s - now_s) / now_s)} left"
