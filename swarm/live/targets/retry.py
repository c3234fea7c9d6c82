"""When a server asks to be tried again, as its header says it; the decision itself is `swarm.load.retry`."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(value: bytes, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, 10.2.3); None if it cannot be read."""
    text = value.decode("latin-1").strip()
    if text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        # Some servers send fractions, which the RFC does not know.
        seconds = float(text)
        return seconds if 0 <= seconds < 1e9 else None
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())
