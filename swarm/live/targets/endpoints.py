"""Which of several endpoints a turn goes to; each way is a few lines. Pure: times are arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from swarm.config.target import FailureClass, HealthConfig, RoutingName
from swarm.streams import digest64

UNHEALTHY: frozenset[FailureClass] = frozenset({"refused", "unreachable", "timeout_connect", "tls"})
"""Failures that say the endpoint, and not the request, is at fault."""
_HASHES = 2.0**64


class Endpoints:
    """Picks endpoints by number, knows what each has open, and leaves those aside that cannot be reached.

    An endpoint with `failures_max` connection failures in a row is left aside for `aside_s`; then turns try
    it again. Where all are aside none is: a run then measures the failures.
    """

    def __init__(self, urls: Sequence[str], *, weights: Sequence[float], health: HealthConfig) -> None:
        self.urls = tuple(urls)
        self.weights = tuple(weights) or (1.0,) * len(self.urls)
        self.open = [0] * len(self.urls)
        self.credits = [0.0] * len(self.urls)
        """Turns that an endpoint is owed, for round-robin by weight."""
        self._health = health
        self._failures = [0] * len(self.urls)
        self._aside_until_s = [-math.inf] * len(self.urls)

    def candidates(self, now_s: float, failed: Collection[int]) -> list[int]:
        """Return the endpoints to choose from; those aside, or that `failed` this turn, only in need."""
        everywhere = range(len(self.urls))
        healthy = [place for place in everywhere if self._aside_until_s[place] <= now_s]
        return [place for place in healthy if place not in failed] or healthy or list(everywhere)

    def begin(self, place: int) -> None:
        """Note an attempt at an endpoint."""
        self.open[place] += 1

    def end(self, place: int, failure: FailureClass | None, now_s: float) -> None:
        """Note how an attempt ended."""
        self.open[place] -= 1
        if failure not in UNHEALTHY:
            self._failures[place] = 0
            return
        self._failures[place] += 1
        if self._failures[place] >= self._health.failures_max:
            self._aside_until_s[place] = now_s + self._health.aside_s


def session_affine(endpoints: Endpoints, session: str, now_s: float, failed: Collection[int]) -> int:
    """Return the session's endpoint by weighted rendezvous hashing: losing one moves its own sessions alone.

    Source: Schindelhauer and Schomaker, "Weighted distributed hash tables" (SPAA 2005): the least -w / ln(h).
    """

    def score(place: int) -> float:
        share = (digest64(f"{session}\x00{endpoints.urls[place]}") + 0.5) / _HASHES
        return -math.log(share) / endpoints.weights[place]

    return min(endpoints.candidates(now_s, failed), key=score)


def round_robin(endpoints: Endpoints, session: str, now_s: float, failed: Collection[int]) -> int:
    """Return the next endpoint by turns, each as often as its weight says, spread evenly.

    Each candidate earns its weight; the richest is picked and pays for all (nginx's smooth weighting).
    """
    candidates, credits = endpoints.candidates(now_s, failed), endpoints.credits
    for place in candidates:
        credits[place] += endpoints.weights[place]
    chosen = max(candidates, key=lambda place: credits[place])
    credits[chosen] -= sum(endpoints.weights[place] for place in candidates)
    return chosen


def least_outstanding(endpoints: Endpoints, session: str, now_s: float, failed: Collection[int]) -> int:
    """Return the endpoint with the fewest turns open for its weight; among equals, by turns."""
    candidates = endpoints.candidates(now_s, failed)
    load = {place: (endpoints.open[place] + 1) / endpoints.weights[place] for place in candidates}
    least = min(load.values())
    equals = [place for place in candidates if load[place] == least]
    chosen = max(equals, key=lambda place: endpoints.credits[place])
    for place in equals:
        endpoints.credits[place] += 1.0
    endpoints.credits[chosen] -= len(equals)
    return chosen


ROUTINGS: dict[RoutingName, Callable[[Endpoints, str, float, Collection[int]], int]] = {
    "session_affine": session_affine,
    "round_robin": round_robin,
    "least_outstanding": least_outstanding,
}
