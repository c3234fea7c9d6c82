"""Rows of simulated requests, from the fleet's events."""

from __future__ import annotations

from swarm.fleet.events import Finished, Refused
from swarm.measure.request_row import request_row
from swarm.records.row import UNSENT, RequestRow
from swarm.sim.breakpoints import written
from swarm.sim.kernel import SimulatedRequest


def ended_row(request: SimulatedRequest, end: Finished | Refused, *, measured_from_s: float) -> RequestRow:
    """Return the row of a request that finished or was refused."""
    if isinstance(end, Finished):
        return _row(request, end.at_s, "ok", end, measured_from_s)
    # What a live client would have called it.
    error_class = "http_4xx" if end.retry_after_s is None else "http_429"
    return _row(request, end.at_s, error_class, None, measured_from_s)


def interrupted_row(request: SimulatedRequest, at_s: float, *, measured_from_s: float) -> RequestRow:
    """Return the row of a request that the end of the run cut off."""
    return _row(request, at_s, "interrupted", None, measured_from_s)


def unsent_row(request: SimulatedRequest, at_s: float, *, measured_from_s: float) -> RequestRow:
    """Return the row of a turn that still waited for admission when the load ended."""
    request.admission_wait_s = at_s - request.intended_s
    row = _row(request, at_s, "interrupted", None, measured_from_s)
    row.sent_s, row.attempts, row.error_class = None, 0, UNSENT
    return row


def _row(
    request: SimulatedRequest, at_s: float, ended: str, finished: Finished | None, measured_from_s: float
) -> RequestRow:
    first = request.first
    cache = first.cache if first is not None else None
    has_gaps = finished is not None and finished.output_tokens > 1
    # The run may end while a refused request still waits to be sent again: the wait ends with it.
    told: tuple[int, int] | tuple[None, None] = (None, None)
    if cache is not None and request.breakpoints is not None:
        told = written(request.breakpoints, cache.cached_tokens)
    unwaited_s = max(0.0, request.due_s - at_s)
    return request_row(
        request.runner.agent,
        request.effect,
        request.turn,
        host=0,
        endpoint=f"replica-{first.replica}" if first is not None else "",
        intended_s=request.intended_s,
        due_s=min(request.due_s, at_s),
        # In virtual time a request is sent the moment it is due.
        sent_s=None if unwaited_s else request.due_s,
        first_token_s=first.at_s if first is not None else None,
        last_token_s=at_s if finished is not None else None,
        completed_s=at_s,
        prompt_tokens=None,
        cached_tokens=cache.cached_tokens if cache is not None else None,
        written_5m_tokens=told[0],
        written_1h_tokens=told[1],
        ideal_tokens=cache.ideal_tokens if cache is not None else 0,
        output_tokens=finished.output_tokens if finished is not None else 0,
        admission_wait_s=request.admission_wait_s,
        retry_wait_s=max(0.0, request.retry_wait_s - unwaited_s),
        attempts=request.attempts - (unwaited_s > 0.0),
        ended=ended,
        itl_mean_s=finished.itl_mean_s if finished is not None and has_gaps else None,
        itl_max_s=finished.itl_max_s if finished is not None and has_gaps else None,
        merged_reads=0,
        resumed=False,
        measured=request.intended_s >= measured_from_s and request.effect.kind != "primer",
        by_tier=cache.by_tier if cache is not None else None,
        lost_to=cache.lost_to if cache is not None else None,
    )
