"""Who is taken among equals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from swarm.streams import digest64

Equal = TypeVar("Equal")


class Lots:
    """Draws among equals: `max-score-picker` has them in the order of a map, which is random in Go."""

    def __init__(self) -> None:
        self._draws_count = 0

    def one_of(self, equals: Sequence[Equal], session: str) -> Equal:
        """Return one of the equals, for a request of a session."""
        if len(equals) == 1:
            return equals[0]
        self._draws_count += 1
        return equals[digest64(f"{session}\x00{self._draws_count}") % len(equals)]
