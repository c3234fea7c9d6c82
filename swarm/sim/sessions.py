"""Which session each slot plays, in virtual time."""

from __future__ import annotations

import math
from functools import partial
from heapq import heappop, heappush

from swarm.load.pacing import Pacing
from swarm.sim.kernel import Kernel
from swarm.workload.source import Source


class Sessions:
    """Starts sessions in slots, each slot's next one when the last has ended."""

    def __init__(self, source: Source, pacing: Pacing, kernel: Kernel) -> None:
        self._source = source
        self._pacing = pacing
        self._kernel = kernel
        self._session_in: dict[int, str] = {}
        """The session that each slot plays."""
        self._generations: dict[int, int] = {}
        """How many sessions each slot has begun."""
        self._until_s: dict[int, float] = {}
        """When each slot's span ends, where it does."""

    def run(self, until_s: float) -> None:
        """Play the slots in their spans."""
        kernel = self._kernel
        ends: list[tuple[float, int, int]] = []
        for slot in range(self._pacing.slots):
            self._enter(slot, 0, ends)
        while ends and ends[0][0] <= until_s:
            end_s, slot, index = heappop(ends)
            kernel.run(end_s)
            if kernel.is_stopped:
                return
            self.close(slot, end_s)
            self._enter(slot, index + 1, ends)
        kernel.run(until_s)

    def open(self, slot: int, at_s: float) -> None:
        """Let a slot play its next session from a time on, and those after it."""
        generation = self._generations.get(slot, 0)
        index = self._pacing.session_index(slot, generation)
        if index is None:
            return
        agent = self._source.session(index)
        self._generations[slot] = generation + 1
        self._session_in[slot] = agent.path
        self._kernel.start(agent, at_s, partial(self._go_on, slot))

    def close(self, slot: int, at_s: float) -> None:
        """Let a slot's session start no more turns, and no other follow it."""
        session = self._session_in.pop(slot, None)
        if session is not None:
            self._kernel.retire(session, at_s)

    def _go_on(self, slot: int, at_s: float) -> None:
        """Start the slot's next session: the last has come to its own end."""
        del self._session_in[slot]
        if at_s < self._until_s.get(slot, math.inf):
            self.open(slot, at_s)

    def _enter(self, slot: int, index: int, ends: list[tuple[float, int, int]]) -> None:
        """Begin a slot's span of that index, if it has one."""
        spans = self._pacing.spans(slot)
        if index >= len(spans):
            return
        span = spans[index]
        self._until_s[slot] = math.inf if span.end_s is None else span.end_s
        if span.start_s < self._until_s[slot]:
            self.open(slot, span.start_s)
        if span.end_s is not None:
            heappush(ends, (span.end_s, slot, index))
