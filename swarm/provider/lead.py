"""How long before it is due an event is taken up, so that its first byte leaves when it is due."""

from __future__ import annotations

from collections import deque

LEAD_S_MAX = 0.0005
"""Beyond it a server is late, and is to be seen as late."""
RECENT = 64


class Lead:
    """What waking up and writing the first byte took of late, at its quickest."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._recent_s: deque[float] = deque(maxlen=RECENT)

    def learn(self, took_s: float) -> None:
        """Note how long after the alarm was to ring the first byte had left; before, where it rang early."""
        self._recent_s.append(took_s)
        self.seconds = max(0.0, min(LEAD_S_MAX, *self._recent_s))
