"""The run's time, and when its load ends."""

from __future__ import annotations

from swarm.config.load import LoadConfig
from swarm.live.clock import Clock

ENDING_S_MAX = 60.0
"""How long after the load's end and its drain hosts may take; then they are given up."""


class LoadTime:
    """Seconds since the run's start. The load ends after its duration, or when the run is stopped before."""

    def __init__(self, load: LoadConfig, clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._stopped_s: float | None = None
        self.start_unix_s = 0.0
        """When the run's time is 0; set by `begin`."""

    def begin(self, at_s: float, *, after_s: float) -> None:
        """Let the run's time be `at_s` in `after_s` seconds."""
        self.start_unix_s = self._clock.unix_s() + after_s - at_s

    @property
    def now_s(self) -> float:
        """The run's time."""
        return self._clock.unix_s() - self.start_unix_s

    def stop(self) -> None:
        """End the load now."""
        self._stopped_s = self.now_s

    @property
    def is_stopped(self) -> bool:
        """Whether the load was ended."""
        return self._stopped_s is not None

    @property
    def since_stop_s(self) -> float:
        """Seconds since the load was ended; 0 where it was not."""
        return 0.0 if self._stopped_s is None else self.now_s - self._stopped_s

    @property
    def has_ended(self) -> bool:
        """Whether the load was ended, or its duration is over."""
        limit_s = self._load.duration_s
        return self.is_stopped or (limit_s is not None and self.now_s >= limit_s)

    @property
    def is_overdue(self) -> bool:
        """Whether the hosts should have ended long ago."""
        end_s = self._end_s
        return end_s is not None and self.now_s > end_s + self._load.drain_s + ENDING_S_MAX

    @property
    def ended_s(self) -> float:
        """When the load ended; now where nothing but its last session has ended it."""
        end_s = self._end_s
        return self.now_s if end_s is None else end_s

    @property
    def _end_s(self) -> float | None:
        ends = [at_s for at_s in (self._stopped_s, self._load.duration_s) if at_s is not None]
        return min(ends, default=None)
