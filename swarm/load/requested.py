"""The load that was asked for, to be held against the one that was delivered."""

from swarm.load.pacing import Pacing


def asked_sessions_mean(pacing: Pacing, *, from_s: float, to_s: float) -> float | None:
    """Return the mean of sessions to be alive in [from_s, to_s); None where slots may run out of sessions."""
    if to_s <= from_s or not pacing.is_endless:
        return None
    spans = [span for slot in range(pacing.slots) for span in pacing.spans(slot)]
    if not spans:
        return None
    ends = [to_s if span.end_s is None else min(to_s, span.end_s) for span in spans]
    alive_s = sum(
        max(0.0, end_s - max(from_s, span.start_s)) for span, end_s in zip(spans, ends, strict=True)
    )
    return alive_s / (to_s - from_s)
