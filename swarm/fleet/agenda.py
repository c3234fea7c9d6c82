"""What a fleet has before it: due times of its parts, sequences under way, events that nobody has taken."""

from __future__ import annotations

import math
from typing import Final

from swarm.fleet.events import Event
from swarm.fleet.sequence import Sequence

INFINITE: Final = math.inf
"""A constant of compiled code, where `math.inf` is looked up and unpacked at each use."""
UNKNOWN: Final = -1
"""The place of a rank that must be looked for."""


class Agenda:
    """Due times, sequences and events that a fleet, its traffic and its ranks share.

    At one time the network goes first, then the ranks by place.
    """

    __slots__ = ("_first", "busy_from_s", "busy_until_s", "due_s", "events", "network_s", "sequences")

    def __init__(self) -> None:
        self.network_s = math.inf
        """When a transfer has moved its bytes, or arrives; infinite if none does."""
        self.due_s: list[float] = []
        """By place, when each rank's step or phase ends; infinite if it has none. Set by `set_due` alone."""
        self._first = UNKNOWN
        """The place of the first of the ranks that are due next, or `UNKNOWN`."""
        self.events: list[Event] = []
        """In time order, until the caller takes them."""
        self.sequences: dict[int, Sequence] = {}
        """By request, all that have not ended."""
        self.busy_from_s = 0.0
        self.busy_until_s = math.inf
        """Between these times it is counted how busy the fleet's parts are."""

    def add_rank(self) -> int:
        """Return the place of one more rank."""
        self.due_s.append(math.inf)
        return len(self.due_s) - 1

    def set_due(self, place: int, at_s: float) -> None:
        """Let a rank's step or phase end at a time; infinite: it has none."""
        first = self._first
        if first != UNKNOWN:
            first_s = self.due_s[first]
            if place == first:
                if at_s > first_s:
                    self._first = UNKNOWN
            elif at_s < first_s or (at_s == first_s and place < first):
                self._first = place
        self.due_s[place] = at_s

    def first_rank(self) -> int:
        """Return the place of the rank that is due next; of the first of them where several are."""
        if self._first == UNKNOWN:
            first, first_s = 0, self.due_s[0]
            for place, at_s in enumerate(self.due_s):
                if at_s < first_s:
                    first, first_s = place, at_s
            self._first = first
        return self._first

    def next_s(self) -> float:
        """Return when something is due next; infinite if nothing is."""
        return min(self.network_s, self.due_s[self.first_rank()])

    def take_events(self) -> list[Event]:
        """Return the events and forget them."""
        taken = self.events[:]
        self.events.clear()
        return taken
