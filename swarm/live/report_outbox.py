"""A host's batches on their way to the coordinator: kept until each is acknowledged, within bounds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from swarm.records.batch import Batch

KEPT_MAX = 300
"""Batches that wait for an acknowledgement."""
KEPT_BYTES_MAX = 64 << 20
REPORT_S_MAX = 10.0
"""How long one try may take; a coordinator that does not answer is asked again with the next batch."""
ENDING_S_MAX = 30.0
"""How long a host that has ended tries to get its last batches acknowledged."""
RETIRED = -2
"""The answer to a host that another one has replaced."""

Report = Callable[[Batch], Awaitable[int]]
"""Hands a batch over and returns the last sequence that is acknowledged, or RETIRED."""


class ReportError(Exception):
    """A batch could not be handed over; it will be tried again."""


class ReportQueue:
    """Sends batches in order, again and again until they are acknowledged.

    One that is in the host's journal and finds no room here is dropped: it is collected from there when the
    run ends. One that is in none is kept, and the host has to stop: what it measured is not thrown away.
    """

    def __init__(self, report: Report, *, is_journaled: bool) -> None:
        """`is_journaled`: the host keeps a journal, which has every batch that does not say otherwise."""
        self._report = report
        self._is_journaled = is_journaled
        self._waiting: deque[Batch] = deque()
        self._bytes = 0
        self.refusal = ""
        """Why the host has to stop; empty while it need not."""
        self.is_retired = False
        """The driver has given the host up: nothing that it says counts any more."""

    def __len__(self) -> int:
        """Return how many batches wait for an acknowledgement."""
        return len(self._waiting)

    @property
    def unstored(self) -> tuple[Batch, ...]:
        """The batches that are neither acknowledged nor in the host's journal."""
        if self.is_retired:
            return ()
        return tuple(batch for batch in self._waiting if not self._is_stored(batch))

    def put(self, batch: Batch) -> None:
        """Keep a batch until it is acknowledged."""
        self._waiting.append(batch)
        self._bytes += len(batch.rows)
        if len(self._waiting) <= KEPT_MAX and self._bytes <= KEPT_BYTES_MAX:
            return
        if self._is_stored(self._waiting[0]):
            self._drop()
        else:
            self.refusal = f"{len(self._waiting)} reports were not acknowledged"

    async def send(self, within_s: float) -> None:
        """Send what waits, for at most `within_s` seconds."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while self._waiting and (left_s := until_s - loop.time()) > 0:
            batch = self._waiting[0]
            try:
                acknowledged = await asyncio.wait_for(self._report(batch), left_s)
            except (TimeoutError, ReportError):
                return
            if acknowledged == RETIRED:
                self.is_retired = True
                return
            if acknowledged < batch.sequence:
                return
            while self._waiting and self._waiting[0].sequence <= acknowledged:
                self._drop()

    def _is_stored(self, batch: Batch) -> bool:
        return self._is_journaled and not batch.refusal

    def _drop(self) -> None:
        self._bytes -= len(self._waiting.popleft().rows)
