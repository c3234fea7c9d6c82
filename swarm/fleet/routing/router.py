"""Which rank a request goes to; each way is a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from swarm.config.fleet import FleetConfig, RouterName
from swarm.context.tree import Prompt
from swarm.fleet.rank import Rank
from swarm.fleet.routing.scored import Scored
from swarm.fleet.routing.sticky import Sticky
from swarm.streams import digest64


class Router(Protocol):
    """Picks one of the ranks that may serve a request."""

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the rank that the request goes to; `sender` is the place of the one that has computed it."""


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._picks_count = 0

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the next rank."""
        self._picks_count += 1
        return ranks[(self._picks_count - 1) % len(ranks)]


class LeastLoaded:
    """The fewest requests; among equals, the first."""

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the rank with the fewest requests, waiting or running."""
        return min(ranks, key=lambda rank: rank.requests)


class SessionAffine:
    """Always the same for a session, whatever its load."""

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the session's rank."""
        return ranks[digest64(session) % len(ranks)]


class PrefixAware:
    """The least seconds until the reply: what the hit and the miss cost there against the load."""

    def pick(
        self, ranks: Sequence[Rank], session: str, prompt: Prompt, sender: int | None, now_s: float
    ) -> Rank:
        """Return the rank that would answer first; among equals, the first.

        What a rank takes at least, without a look at its caches, spares the look where others are faster.
        """
        if len(ranks) == 1:
            return ranks[0]
        at_least_s = [rank.least_s(prompt, now_s) for rank in ranks]
        best = 0
        for at, bound_s in enumerate(at_least_s):
            if bound_s < at_least_s[best]:
                best = at
        first = best
        best_s = ranks[first].estimate_s(prompt, sender, now_s)
        for at, bound_s in enumerate(at_least_s):
            if at == first or bound_s > best_s or (bound_s == best_s and at > best):
                continue
            seconds = ranks[at].estimate_s(prompt, sender, now_s)
            if seconds < best_s or (seconds == best_s and at < best):
                best, best_s = at, seconds
        return ranks[best]


ROUTERS: dict[RouterName, type[Router]] = {
    "round_robin": RoundRobin,
    "least_loaded": LeastLoaded,
    "session_affine": SessionAffine,
    "prefix_aware": PrefixAware,
    "scored": Scored,
    "sticky": Sticky,
}


def router_of(config: FleetConfig) -> Router:
    """Return a fleet's router, with what is stated for it."""
    if config.router == "scored":
        return Scored(config.router_scores)
    if config.router == "sticky":
        return Sticky(config.router_sticky)
    return ROUTERS[config.router]()
