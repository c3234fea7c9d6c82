"""What the simulation writes down: the same rows as a live host, from the fleet's events."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.fleet.events import Finished, Refused
from swarm.records.row import Outcome, RequestRow
from swarm.sim.kernel import Flight


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The run ended before the request did."""

    at_s: float
    reason: str


def interrupted_row(flight: Flight, at_s: float, *, measured_from_s: float) -> RequestRow:
    """Return the row of a request that the end of the run cut off."""
    return row_of(flight, Interrupted(at_s, "interrupted"), measured_from_s=measured_from_s)


def row_of(flight: Flight, end: Finished | Refused | Interrupted, *, measured_from_s: float) -> RequestRow:
    """Return the row of a request that ended; in virtual time a request is sent the moment it is due."""
    agent, effect, first = flight.runner.agent, flight.effect, flight.first
    finished = isinstance(end, Finished)
    cache = first.cache if first is not None else None
    first_s = first.at_s if first is not None else None
    # The run may end while a refused request still waits to be sent again: the wait ends with it.
    unwaited_s = max(0.0, flight.due_s - end.at_s)
    return RequestRow(
        session=agent.session,
        agent=agent.path,
        parent=agent.parent,
        role=agent.role,
        turn=flight.turn,
        kind=effect.kind,
        opened_by=effect.opened_by,
        host=0,
        endpoint=f"replica-{first.replica}" if first is not None else "",
        intended_s=flight.intended_s,
        due_s=min(flight.due_s, end.at_s),
        sent_s=None if unwaited_s else flight.due_s,
        first_token_s=first_s,
        last_token_s=end.at_s if finished else None,
        completed_s=end.at_s,
        prompt_tokens=effect.prompt.length,
        planned_prompt_tokens=effect.prompt.length,
        cached_tokens=cache.cached_tokens if cache is not None else None,
        ideal_tokens=cache.ideal_tokens if cache is not None else 0,
        modelled_tokens=None,
        output_tokens=end.output_tokens if isinstance(end, Finished) else 0,
        planned_output_tokens=effect.output_tokens,
        rewritten_tokens=effect.rewritten_tokens,
        admission_wait_s=flight.admission_wait_s,
        retry_wait_s=max(0.0, flight.retry_wait_s - unwaited_s),
        attempts=flight.attempts - (unwaited_s > 0.0),
        outcome=_OUTCOMES[type(end)],
        error_class=_error_class(end),
        itl_mean_s=end.itl_mean_s if isinstance(end, Finished) and end.output_tokens > 1 else None,
        itl_max_s=end.itl_max_s if isinstance(end, Finished) and end.output_tokens > 1 else None,
        merged_reads=0,
        resumed=False,
        measured=flight.intended_s >= measured_from_s,
        by_tier=cache.by_tier if cache is not None else None,
        lost_to=cache.lost_to if cache is not None else None,
        echo=effect.echo,
        prompt_node=effect.prompt.node.name,
    )


def _error_class(end: Finished | Refused | Interrupted) -> str | None:
    """Return what a live client would have called it."""
    if isinstance(end, Refused):
        return "http_4xx" if end.retry_after_s is None else "http_429"
    return end.reason if isinstance(end, Interrupted) else None


_OUTCOMES: dict[type, Outcome] = {Finished: "ok", Refused: "failed", Interrupted: "interrupted"}
