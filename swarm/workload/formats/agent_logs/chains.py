"""Chains of a log's lines, each of which names the one before it, walked once however long they are.

Knows: which line comes before which. Does not know: what lines hold.
"""

from __future__ import annotations

from collections.abc import Callable


class Chains:
    """Lines by id, each with that of the line before it; a line that is not there yet may come later."""

    def __init__(self) -> None:
        self._before: dict[str, str] = {}
        self._far: dict[str, str] = {}
        """Of a line, one far before it: what was walked once is not walked again."""

    def add(self, line: str, before: str | None) -> None:
        """Note a line, and the one before it: None or an empty id, where it begins a chain."""
        self._before[line] = before or ""

    def first(self, line: str) -> str:
        """Return the first line of the chain that a line is in; of a circle, one of its lines."""
        at = line
        walked: dict[str, None] = {}
        while at not in walked:
            before = self._far.get(at) or self._before.get(at)
            if not before:
                break
            walked[at] = None
            at = before
        for each in walked:
            if each != at:
                self._far[each] = at
        return at


class Nearest:
    """Of lines, the nearest one at or before each that is of a kind."""

    def __init__(self, before: Callable[[str], str | None], holds: Callable[[str], bool]) -> None:
        self._before = before
        """Returns the line before one, or None where it has none, or is not there."""
        self._holds = holds
        self._known: dict[str, str | None] = {}

    def of(self, line: str | None) -> str | None:
        """Return the nearest such line, or None where the chain has none."""
        walked: list[str] = []
        at, found = line, None
        while at is not None:
            if at in self._known:
                found = self._known[at]
                break
            # In a circle this is met again.
            self._known[at] = None
            walked.append(at)
            if self._holds(at):
                found = at
                break
            at = self._before(at)
        for each in walked:
            self._known[each] = found
        return found
