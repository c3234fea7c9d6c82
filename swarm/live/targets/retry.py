"""Whether and when a failed attempt is made again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from numpy.random import Generator

from swarm.config.target import RetryConfig
from swarm.live.targets.failure import Failure


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
    except (ValueError, TypeError, IndexError):
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())


def wait_s(
    config: RetryConfig, failure: Failure, *, attempt: int, asked_s: float | None, chance: Generator
) -> float | None:
    """Return how long to wait after the failure of attempt `attempt` (from 1), or None to give up.

    Waits double from `wait_first_s` to `wait_max_s`, and the upper half of each is left to chance, so that
    agents that failed together do not come back together. A server that asks for a time gets it, plus that
    half: it is when the server is ready, not when everybody should come.
    """
    if attempt >= config.attempts_max or failure.kind not in config.classes:
        return None
    planned = min(config.wait_max_s, config.wait_first_s * 2.0 ** min(attempt - 1, 60))
    jitter = planned / 2 * chance.random()
    if asked_s is None:
        return planned / 2 + jitter
    return None if asked_s > config.retry_after_max_s else asked_s + jitter
