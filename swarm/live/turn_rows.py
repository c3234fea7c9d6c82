"""A turn's result as a row of the run."""

from collections.abc import Sequence
from typing import NamedTuple

from swarm.live.targets.turn import TurnResult
from swarm.measure.request_row import request_row
from swarm.records.row import RequestRow
from swarm.workload.effects import Agent, Infer


class OpenRequest(NamedTuple):
    """A request as it is known when it is sent; times are of the run's clock."""

    agent: Agent
    turn: int
    effect: Infer
    intended_s: float
    sent_s: float
    measured: bool
    resumed: bool
    """The agent's first one after it was taken over from a lost host."""


def row_of(
    request: OpenRequest,
    result: TurnResult,
    *,
    gaps_s: Sequence[float],
    origin_s: float,
    ideal_tokens: int,
    host: int,
) -> RequestRow:
    """Return the row; `origin_s` is the run's start on the clock of the result's stamps."""
    due_s = request.intended_s
    if result.admission_wait_s:
        due_s = request.sent_s
    if result.retry_due_s is not None:
        due_s = max(request.intended_s, result.retry_due_s - origin_s)
    return request_row(
        request.agent,
        request.effect,
        request.turn,
        host=host,
        endpoint=result.endpoint,
        intended_s=request.intended_s,
        due_s=due_s,
        sent_s=_shifted(result.sent_s, origin_s),
        first_token_s=_shifted(result.first_token_s, origin_s),
        last_token_s=_shifted(result.last_token_s, origin_s),
        completed_s=result.completed_s - origin_s,
        prompt_tokens=result.prompt_tokens,
        cached_tokens=result.cached_tokens,
        written_5m_tokens=result.written_5m_tokens,
        written_1h_tokens=result.written_1h_tokens,
        ideal_tokens=ideal_tokens,
        output_tokens=result.output_tokens or 0,
        admission_wait_s=result.admission_wait_s,
        retry_wait_s=result.retry_wait_s,
        attempts=max(1, result.attempts),
        ended=result.outcome,
        itl_mean_s=sum(gaps_s) / len(gaps_s) if gaps_s else None,
        itl_max_s=max(gaps_s, default=None),
        merged_reads=result.merged_reads,
        resumed=request.resumed,
        measured=request.measured,
        by_tier=result.by_tier,
        lost_to=result.lost_to,
    )


def _shifted(stamp_s: float | None, origin_s: float) -> float | None:
    return None if stamp_s is None else stamp_s - origin_s
