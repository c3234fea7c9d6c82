"""Whether a run measured its target and not itself; each reason not to believe it, in words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from swarm.errors import AuditError
from swarm.measure.latency import Selection, flags
from swarm.measure.sketch import Sketch
from swarm.measure.totals import RunFacts, RunTotals


def audit_counts(table: pa.Table, totals: RunTotals) -> dict[str, int]:
    """Return how many requests ended how; raise AuditError when they do not add up to those sent."""
    ended = {
        "finished": int(flags(table, "outcome", "ok").sum()),
        "failed": int(flags(table, "outcome", "failed").sum()),
        "interrupted": int(flags(table, "outcome", "interrupted").sum()),
        "in_flight": totals.in_flight,
        "unaccounted": totals.unaccounted,
    }
    if totals.sent != sum(ended.values()):
        parts = ", ".join(f"{count} {name}" for name, count in ended.items())
        raise AuditError(f"{totals.sent} requests were sent, but {parts} make {sum(ended.values())}")
    return {"sent": totals.sent, **ended}


def invalid_reasons(
    facts: RunFacts, totals: RunTotals, ended: Selection, send_lag: Sketch | None
) -> list[str]:
    """Return why the run cannot be believed, from the measured rows that ended; none is a valid run."""
    audit = facts.audit
    reasons = list(totals.faults)
    if not flags(ended, "outcome", "ok").any():
        reasons.append("no request of the measured phase finished")
    _bound(
        reasons,
        "send lag",
        send_lag,
        audit.send_lag_p99_s,
        "the hosts sent late, so they and not the target may be the limit",
    )
    _bound(
        reasons,
        "event-loop lag",
        totals.loop_lag,
        audit.loop_lag_p99_s,
        "the hosts were starved of CPU or overloaded",
    )
    truncated = _share(flags(ended, "error_class", "truncated"))
    if truncated > audit.truncated_share:
        reasons.append(
            f"{truncated:.1%} of the streams ended without a finish, "
            f"more than the {audit.truncated_share:.1%} allowed"
        )
    if totals.unaccounted:
        reasons.append(f"{totals.unaccounted} requests are unaccounted for: their host was lost")
    return reasons


def _bound(reasons: list[str], what: str, lag: Sketch | None, bound_s: float, meaning: str) -> None:
    value = None if lag is None else lag.quantile(0.99)
    if value is not None and value > bound_s:
        reasons.append(
            f"p99 {what} {value * 1e3:.1f} ms is past its bound of {bound_s * 1e3:.1f} ms: {meaning}"
        )


def _share(flagged: np.ndarray) -> float:
    return float(np.mean(flagged)) if len(flagged) else 0.0
