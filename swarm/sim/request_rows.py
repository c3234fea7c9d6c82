"""Rows of simulated requests, from the fleet's events: what `swarm.measure.request_row` says of a live one.

A row is its columns' values at once: nobody reads a simulation's rows one by one.
"""

from __future__ import annotations

from swarm.fleet.events import Finished, Refused
from swarm.records.row import UNSENT
from swarm.records.rows import NO_LOSSES, NO_TIERS, RowValues
from swarm.sim.breakpoints import written
from swarm.sim.kernel import SimulatedRequest


def refusal_class(end: Refused) -> str:
    """Return what a live client would have called a refusal."""
    return "http_4xx" if end.retry_after_s is None else "http_429"


def ended_row(request: SimulatedRequest, end: Finished | Refused, *, measured_from_s: float) -> RowValues:
    """Return the row of a request that finished or was refused."""
    if isinstance(end, Finished):
        return _row(request, end.at_s, "ok", None, end, True, measured_from_s)
    return _row(request, end.at_s, "failed", refusal_class(end), None, True, measured_from_s)


def interrupted_row(request: SimulatedRequest, at_s: float, *, measured_from_s: float) -> RowValues:
    """Return the row of a request that the end of the run cut off."""
    return _row(request, at_s, "interrupted", "interrupted", None, True, measured_from_s)


def unsent_row(request: SimulatedRequest, at_s: float, *, measured_from_s: float) -> RowValues:
    """Return the row of a turn that still waited for admission when the load ended."""
    request.admission_wait_s = at_s - request.intended_s
    return _row(request, at_s, "interrupted", UNSENT, None, False, measured_from_s)


def _row(
    request: SimulatedRequest,
    at_s: float,
    outcome: str,
    error_class: str | None,
    finished: Finished | None,
    was_sent: bool,
    measured_from_s: float,
) -> RowValues:
    """Return the values of a request's columns; a test holds them to `swarm.records.columns.SCHEMA`."""
    agent, effect, first = request.runner.agent, request.effect, request.first
    intended_s, due_s, prompt = request.intended_s, request.due_s, effect.prompt
    # The run may end while a refused request still waits to be sent again: the wait ends with it.
    unwaited_s = max(0.0, due_s - at_s)
    first_token_s: float | None = None
    cached: int | None = None
    told_5m: int | None = None
    told_1h: int | None = None
    endpoint, ideal = "", 0
    by_tier, lost_to = NO_TIERS, NO_LOSSES
    if first is not None:
        first_token_s, endpoint, cache = first.at_s, f"replica-{first.replica}", first.cache
        cached, ideal = cache.cached_tokens, cache.ideal_tokens
        by_tier, lost_to = cache.by_tier or NO_TIERS, cache.lost_to or NO_LOSSES
        if request.breakpoints is not None:
            told_5m, told_1h = written(request.breakpoints, cache.cached_tokens)
    last_token_s: float | None = None
    itl_mean_s: float | None = None
    itl_max_s: float | None = None
    output = 0
    if finished is not None:
        last_token_s, output = at_s, finished.output_tokens
        if output > 1:
            itl_mean_s, itl_max_s = finished.itl_mean_s, finished.itl_max_s
    tokens = prompt.length
    plain: RowValues = (
        agent.session, agent.path, agent.parent, agent.role,
        request.turn, effect.kind, effect.opened_by,
        0, endpoint,
        # In virtual time a request is sent the moment it is due.
        intended_s, min(due_s, at_s), None if unwaited_s or not was_sent else due_s,
        first_token_s, last_token_s, at_s,
        tokens, tokens, cached, ideal, None,
        output, effect.output_tokens, effect.rewritten_tokens,
        request.admission_wait_s, max(0.0, request.retry_wait_s - unwaited_s),
        request.attempts - (1 if unwaited_s else 0) if was_sent else 0,
        outcome, error_class, itl_mean_s, itl_max_s, 0,
        False, intended_s >= measured_from_s and effect.kind != "primer",
        effect.echo, prompt.node.name, told_5m, told_1h,
    )  # fmt: skip
    return plain + by_tier + lost_to
