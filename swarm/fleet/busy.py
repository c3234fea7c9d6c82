"""How busy a fleet's parts were: what tells which of them was full."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetBusy:
    """Seconds of work that a fleet's parts have done since they are counted."""

    prefill_s: float
    """Of steps that compute prompts, summed over the ranks that requests come to."""
    prefill_ranks: int
    pipes_s: dict[str, float]
    """Of each tier's side and each link: what was moved over it, at its whole bandwidth."""
