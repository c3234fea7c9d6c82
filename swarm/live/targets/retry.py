"""When a server asks to be tried again, as its header says it; the decision itself is `swarm.load.retry`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS, _MILLISECONDS = b"retry-after", b"retry-after-ms"


def asked_s(headers: Iterable[tuple[bytes, bytes]], now: datetime) -> float | None:
    """Return the seconds that a response asks to wait; None if it asks for none that can be read.

    `retry-after-ms`, which OpenAI's own clients prefer, is finer than the whole seconds of Retry-After.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name.lower(), value)
    try:
        waited_ms = float(found.get(_MILLISECONDS, b"").decode("latin-1"))
        if 0 <= waited_ms < 1e12:
            return waited_ms / 1000
    except ValueError:
        pass
    return retry_after_s(found[_SECONDS], now) if _SECONDS in found else None


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
