"""How busy a target's servers are over the measured phase: asked at its begin and at its end."""

from __future__ import annotations

from collections.abc import Callable

from swarm.measure.saturation import ServerBusy

Ask = Callable[[float], ServerBusy | None]
"""Asks the servers at a time of the run; None where they do not answer."""


class BusyWatch:
    """Asks the servers twice."""

    def __init__(self, ask: Ask, *, from_s: float) -> None:
        self._ask = ask
        self._from_s = from_s
        self._begun = self._ended = False
        self.before: ServerBusy | None = None
        self.after: ServerBusy | None = None

    def look(self, now_s: float, *, has_ended: bool) -> None:
        """Ask where it is time to, by the run's clock; a phase that never began has no end."""
        if not self._begun and not has_ended and now_s >= self._from_s:
            self._begun = True
            self.before = self._ask(now_s)
        elif self._begun and not self._ended and has_ended:
            self._ended = True
            self.after = self._ask(now_s)
