"""The load that was asked for, to be held against the one that was delivered."""

from swarm.load.pacing import Pacing
from swarm.load.shapes import Arrivals


def asked_sessions_mean(pacing: Pacing, *, from_s: float, to_s: float) -> float | None:
    """Return the mean of sessions to be alive in [from_s, to_s); None where the load does not say.

    It does not where sessions arrive by chance, each for its own length, or where a search decides.
    """
    asked = pacing.asked
    if to_s <= from_s or isinstance(asked, Arrivals):
        return None
    spans = [span for slot in range(asked.slots) for span in asked.spans(slot)]
    if not spans:
        return None
    ends = [to_s if span.end_s is None else min(to_s, span.end_s) for span in spans]
    alive_s = sum(
        max(0.0, end_s - max(from_s, span.start_s)) for span, end_s in zip(spans, ends, strict=True)
    )
    return alive_s / (to_s - from_s)
