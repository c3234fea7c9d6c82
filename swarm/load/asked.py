"""The load that was asked for, to be held against the one that was delivered."""

from swarm.load.pacing import Pacing


def asked_sessions_mean(pacing: Pacing, *, from_s: float, to_s: float) -> float | None:
    """Return the mean of sessions to be alive in [from_s, to_s); None where slots may run out of sessions."""
    if to_s <= from_s or not pacing.is_endless:
        return None
    alive_s = sum(max(0.0, to_s - max(from_s, pacing.start_s(slot))) for slot in range(pacing.slots))
    return alive_s / (to_s - from_s)
