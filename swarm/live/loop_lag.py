"""How late this process's event loop wakes up: the instrument's own error."""

import asyncio
import time


class LoopLag:
    """Wakes up ten times a second and keeps how late that was."""

    PERIOD_S = 0.1

    def __init__(self) -> None:
        self._lags_s: list[float] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def last_s(self) -> float:
        """How late the loop woke up last; 0 before it has."""
        return self._lags_s[-1] if self._lags_s else 0.0

    def start(self) -> None:
        """Begin to watch the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()

    def take(self) -> list[float]:
        """Return the lags since the last call, in seconds."""
        lags, self._lags_s = self._lags_s, []
        return lags

    async def _watch(self) -> None:
        while True:
            due_s = time.monotonic() + self.PERIOD_S
            await asyncio.sleep(self.PERIOD_S)
            self._lags_s.append(max(0.0, time.monotonic() - due_s))
