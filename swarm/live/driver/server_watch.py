"""Looks at the target's counters every so often, in a thread of its own: a slow answer holds up nobody."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.live.clock import Clock
from swarm.live.targets.control import ControlPlane
from swarm.live.targets.server_sample import read_sample
from swarm.measure.server_time import ServerSample

EVERY_S_MIN = 1.0
SAMPLES_MAX = 100_000
"""A day at one a second; later ones are not taken."""
BUSY_SHARE = 0.05
"""Of the time that looks may take: the page of a thousand engines takes a second to read."""
ENDING_S_MAX = 15.0
"""For a question under way; then its answer is not waited for."""


class ServerWatch:
    """The looks at one target, from `start` to `stop`."""

    def __init__(self, config: TargetConfig, clock: Clock, *, every_s: float) -> None:
        self._config = config
        self._clock = clock
        self._every_s = max(EVERY_S_MIN, every_s)
        self._over = threading.Event()
        self._samples: list[ServerSample] = []
        self._thread = threading.Thread(target=self._run, name="server watch", daemon=True)

    def start(self) -> None:
        """Take the first look now, in the thread."""
        self._thread.start()

    def end(self) -> None:
        """Let the look under way be the last but one."""
        self._over.set()

    def stop(self, start_unix_s: float, *, within_s: float = ENDING_S_MAX) -> tuple[ServerSample, ...]:
        """Take a last look, if it comes in time; return all of them on the clock of a run that began then."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join(within_s)
        return tuple(replace(each, at_s=each.at_s - start_unix_s) for each in list(self._samples))

    def _run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        async with ControlPlane(self._config) as control:
            while len(self._samples) < SAMPLES_MAX:
                is_last = self._over.is_set()
                began_s = self._clock.monotonic_s()
                try:
                    found = read_sample(await control.metrics(), self._clock.unix_s())
                except RunError:
                    # It is away, or publishes nothing: the next look may find it.
                    found = None
                if found is not None:
                    self._samples.append(found)
                if is_last:
                    return
                took_s = self._clock.monotonic_s() - began_s
                await asyncio.to_thread(self._over.wait, max(self._every_s, took_s / BUSY_SHARE))
