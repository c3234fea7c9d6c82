"""How much memory this process holds while something goes on."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return how much memory this process holds; 0 where the system does not tell."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


class Peak(threading.Thread):
    """Watches how much memory this process holds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._before = self._most = resident_bytes()

    def run(self) -> None:
        while not self._over.wait(0.005):
            self._most = max(self._most, resident_bytes())

    def stop(self) -> float:
        """Return by how many bytes it grew at most."""
        self._over.set()
        self.join()
        return float(max(self._most, resident_bytes()) - self._before)
