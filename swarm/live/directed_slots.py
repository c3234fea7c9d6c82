"""Slots that play while somebody says so: a search opens and closes them as the run goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Play = Callable[[int, int, float], Awaitable[int | None]]
"""Plays a slot's sessions from a generation and a time on until it is closed; returns the next generation."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which slots are to play: the first `agents` of the run, those that are new one after the other."""

    agents: int
    before: int
    """How many played until now."""
    from_s: float
    ramp_s: float

    def start_s(self, slot: int) -> float:
        """Return when a slot that did not play before begins."""
        # Of a search alone, whose program takes longer to import than all else here.
        from swarm.load.search_program import SetLevel

        return SetLevel(self.agents, self.before, self.ramp_s).start_s(slot, self.from_s)


class DirectedSlots:
    """The slots of one host, each a chain of sessions that pauses and goes on."""

    def __init__(self, slots: range, play: Play, close: Callable[[int], None]) -> None:
        self._slots = slots
        self._play = play
        self._close = close
        self._open: set[int] = set()
        self._tasks: dict[int, asyncio.Task[int | None]] = {}
        """By slot: its last task, which ends with the generation to go on with."""

    def is_open(self, slot: int) -> bool:
        """Whether a slot may start another session."""
        return slot in self._open

    def direct(self, order: Order) -> None:
        """Open and close slots as ordered; one that is asked for what it does already goes on."""
        for slot in self._slots:
            if slot >= order.agents:
                if slot in self._open:
                    self._open.remove(slot)
                    self._close(slot)
            elif slot not in self._open:
                self._open.add(slot)
                before = self._tasks.get(slot)
                start_s = order.start_s(max(slot, order.before))
                self._tasks[slot] = asyncio.ensure_future(self._go_on(slot, before, start_s))

    async def until(self, stopped: asyncio.Event) -> None:
        """Play as directed until the run stops and every slot has come to rest."""
        try:
            await stopped.wait()
            await asyncio.gather(*self._tasks.values())
        finally:
            for task in self._tasks.values():
                task.cancel()

    async def _go_on(self, slot: int, before: asyncio.Task[int | None] | None, start_s: float) -> int | None:
        generation = 0 if before is None else await before
        return None if generation is None else await self._play(slot, generation, start_s)
