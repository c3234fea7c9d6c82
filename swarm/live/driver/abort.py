"""When a load is given up: the target fails more than it answers."""

from __future__ import annotations

from collections import deque

from swarm.config.abort import AbortConfig
from swarm.live.coordinator import Snapshot


class Abort:
    """Watches the failures of the last minute."""

    def __init__(self, config: AbortConfig) -> None:
        self._config = config
        self._seen: deque[tuple[float, int, int]] = deque()
        """Times, and how many requests had ended and failed by then."""

    def reason(self, now_s: float, snapshot: Snapshot) -> str | None:
        """Return why the load is to stop; None where it goes on."""
        most = self._config.failed_share
        if most is None:
            return None
        seen = self._seen
        seen.append((now_s, snapshot.ended, snapshot.failed))
        while len(seen) > 1 and seen[1][0] <= now_s - self._config.over_s:
            seen.popleft()
        # The first look is at a run's start, when nothing has ended: a resumed run counts from there on.
        _, ended_before, failed_before = seen[0]
        ended, failed = snapshot.ended - ended_before, snapshot.failed - failed_before
        if ended < self._config.requests_min or failed <= most * ended:
            return None
        return (
            f"{failed:,} of the last {ended:,} requests failed, more than abort.failed_share: {most:g}: "
            "the load was stopped"
        )
