"""Which node takes the next of a run's actors: each by its CPUs, however many nodes there are.

Ray's own `SPREAD` sends actors that reserve no CPU to nodes by chance: three hosts of three nodes may all be
on one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """A node that lives."""

    node: str
    """Ray's id of it."""
    cpus: float


class Spread:
    """Remembers what was placed where. A node that has lost an actor is the last to be chosen again."""

    def __init__(self) -> None:
        self._placed: dict[str, int] = {}
        self._shunned: set[str] = set()

    def pick(self, places: Iterable[Place]) -> str:
        """Return the node for one more actor, and count it there.

        Nodes without a CPU are meant to have no work, as heads often are: they come in only where all are so.
        """
        known = list(places)
        able = [place for place in known if place.cpus > 0] or known
        chosen = min(able, key=self._fullness)
        self._placed[chosen.node] = self._placed.get(chosen.node, 0) + 1
        return chosen.node

    def lose(self, node: str) -> None:
        """Note that an actor was lost there: the node itself may be dying, before Ray knows of it."""
        self._shunned.add(node)
        self._placed[node] = max(0, self._placed.get(node, 0) - 1)

    def _fullness(self, place: Place) -> tuple[bool, float]:
        return place.node in self._shunned, (self._placed.get(place.node, 0) + 1) / max(place.cpus, 1.0)
