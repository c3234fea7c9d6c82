"""What a search sees and would answer, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarm.load.search import Level


def found(answer: Mapping[str, Any]) -> str:
    """Return the interval in words: `34 to 47 agents`."""
    low, high = answer["agents_low"], answer["agents_high"]
    if high is None:
        return f"at least {low:,} {_agents(low)}"
    if low == high:
        return f"{low:,} {_agents(low)}"
    if low == 0:
        return f"{high:,} {_agents(high)} at most"
    return f"{low:,} to {high:,} agents"


def told_look(level: Level, answer: Mapping[str, Any]) -> str:
    """Return what was seen of the level that was just looked at, and what would be answered now."""
    limiting = level.limiting
    share = ""
    if limiting is not None:
        needed = f"{limiting.required:.1%} needed"
        share = f": {limiting.value:.1%} of {limiting.count:,} within {limiting.name}, {needed}"
    why = f" ({level.why})" if level.why else ""
    return f"{level.agents:,} {_agents(level.agents)} {level.verdict}{share}{why}; so far {found(answer)}"


def _agents(number: int) -> str:
    return "agent" if number == 1 else "agents"
