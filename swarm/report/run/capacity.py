"""What a search found, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarm.load.search_words import found

REQUESTS_FEW = 200
"""A search that saw fewer says little, whatever its interval."""
WIDE = 1.8
"""Ends further apart than this call for more time."""


def sentence(capacity: Mapping[str, Any]) -> str:
    """Return the answer: how many agents, within what, how surely, what limits them and what bound them."""
    within = " and ".join(capacity.get("within", ()))
    said = f"It carries {found(capacity)}"
    said += f" within {within}" if within else ""
    said += f" ({capacity['confidence']:.0%} confidence)"
    if capacity["bound_by"]:
        said += f", bound by {capacity['bound_by'].replace('_', ' ')}"
    if capacity["limiting_objective"] and len(capacity.get("within", ())) > 1:
        said += f"; {capacity['limiting_objective']} is missed first"
    return said + "."


def advice(capacity: Mapping[str, Any]) -> str | None:
    """Return what to do for a better answer; None where it is good enough."""
    low, high = capacity["agents_low"], capacity["agents_high"]
    requests = sum(level["requests"] for level in capacity["levels"])
    if requests < REQUESTS_FEW:
        return (
            f"only {requests:,} requests were seen, which say little: give it more time (--minutes), or "
            "agents that think less (--workload)"
        )
    if high is None:
        return (
            "no level was missed, so nothing is known of more agents: give it more time (--minutes), or "
            "raise --agents-max if that is where it ended"
        )
    if high > WIDE * max(1, low):
        return "the interval is wide: more time (--minutes) makes it narrower"
    return None
