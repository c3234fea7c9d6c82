"""A token bucket: what may be used of a rate now, and when more may."""

from __future__ import annotations

from swarm.units import MINUTE_S

SLACK_TOKENS = 1e-6
"""By how much a level may fall short by rounding."""


class Bucket:
    """Tokens that are refilled at a rate, up to a capacity; full at first.

    A full bucket lets more than its capacity pass, and is in debt then: nobody waits for ever.
    """

    __slots__ = ("_at_s", "_capacity", "_level", "_rate")

    def __init__(self, *, capacity: float, per_s: float) -> None:
        self._capacity = capacity
        self._rate = per_s
        self._level = capacity
        self._at_s = 0.0

    def wait_s(self, tokens: float, now_s: float) -> float:
        """Return the seconds until so many tokens pass; 0 if they do now."""
        self._refill(now_s)
        short = min(tokens, self._capacity) - self._level
        return short / self._rate if short > SLACK_TOKENS else 0.0

    def take(self, tokens: float, now_s: float) -> None:
        """Take tokens; the level may fall below 0."""
        self._refill(now_s)
        self._level -= tokens

    def is_idle(self, now_s: float) -> bool:
        """Return whether it is as if it had never been used."""
        self._refill(now_s)
        return self._level >= self._capacity

    def _refill(self, now_s: float) -> None:
        """Add what has flowed in; an earlier time than the last adds nothing."""
        if now_s > self._at_s:
            self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._rate)
            self._at_s = now_s


def minute_bucket(per_minute: float | None) -> Bucket | None:
    """Return the bucket of a limit a minute, which holds a minute's worth; None where nothing is limited."""
    return None if per_minute is None else Bucket(capacity=per_minute, per_s=per_minute / MINUTE_S)
