"""A simulation while it runs: a line on stderr now and then, and an ear for Ctrl-C."""

from __future__ import annotations

import time
from typing import TextIO

from swarm.config.experiment import Experiment
from swarm.interrupts import Interrupts
from swarm.report.live.course import Course
from swarm.report.numbers import count, seconds

TERMINAL_EVERY_S = 0.5
ELSEWHERE_EVERY_S = 10.0
TOLD_EVERY_S = 0.5


class Watching:
    """Shows how far a simulation is, and ends it once a signal has come."""

    def __init__(
        self, experiment: Experiment, interrupts: Interrupts, stream: TextIO, course: Course
    ) -> None:
        """`course` is told as well, for those who watch from elsewhere."""
        self._course = course
        self._told_s = 0.0
        self._until_s = experiment.load.duration_s
        self._interrupts = interrupts
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._every_s = TERMINAL_EVERY_S if self._is_terminal else ELSEWHERE_EVERY_S
        self._began_s = self._shown_s = time.monotonic()
        self._has_shown = False

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
            self._show(self._line(now_s, ended_count, open_count, wall_s - self._began_s))
        return self._interrupts.received is None

    def close(self) -> None:
        """Wipe the line away, where it was drawn over."""
        if self._is_terminal and self._has_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, now_s: float, ended_count: int, open_count: int, passed_s: float) -> str:
        until = "" if self._until_s is None else f" of {seconds(self._until_s)}"
        line = (
            f"simulated {seconds(now_s)}{until}  requests {count(ended_count)}  "
            f"open {count(open_count)}  {ended_count / passed_s:,.0f} req/s"
        )
        if self._until_s is None or not 0.0 < now_s < self._until_s:
            return line
        return f"{line}  {seconds(passed_s * (self._until_s - now_s) / now_s)} left"

    def _show(self, line: str) -> None:
        self._has_shown = True
        self._stream.write(f"\r\x1b[K{line}" if self._is_terminal else f"{line}\n")
        self._stream.flush()
