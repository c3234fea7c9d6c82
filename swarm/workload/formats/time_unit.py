"""Whether a file's timestamps are seconds or milliseconds, where nobody says."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from pathlib import Path

from swarm.workload.formats.files import first_matches

_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*(-?[0-9][0-9.eE+-]*)')
FRACTIONS_GAP = 60.0
"""Timestamps with a decimal point that lie closer than this in the mean may be seconds: the published traces
in milliseconds have whole numbers, and 150 and more between requests."""
WHOLE_GAP = 1.0
"""Whole timestamps that lie closer than this would be a thousand requests a second."""


class Timestamps:
    """What the timestamps of some rows are like."""

    def __init__(self) -> None:
        self._count = 0
        self._least = math.inf
        self._most = -math.inf
        self._has_fractions = False

    def take(self, value: float, *, is_fraction: bool) -> None:
        """Count a timestamp; a fraction is one that is written with a decimal point, as 10.0 is."""
        self._count += 1
        self._least = min(self._least, value)
        self._most = max(self._most, value)
        self._has_fractions = self._has_fractions or is_fraction

    @property
    def may_be_seconds(self) -> bool:
        """Whether they are no plausible milliseconds."""
        if self._count < 2 or self._most == self._least:
            return False
        gap = (self._most - self._least) / (self._count - 1)
        return gap < (FRACTIONS_GAP if self._has_fractions else WHOLE_GAP)


def timestamps_of(file: Path) -> Timestamps:
    """Return what the timestamps of a file of lines are like; lines without one are passed over."""
    found = Timestamps()
    for text in first_matches(file, _TIMESTAMP):
        with suppress(ValueError):
            found.take(float(text), is_fraction=b"." in text or b"e" in text.lower())
    return found
