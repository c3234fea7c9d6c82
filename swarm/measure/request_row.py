"""The row of a request that has ended: what its agent asked for, with what a clock knows of its course."""

from __future__ import annotations

from swarm.records.row import Outcome, RequestRow
from swarm.workload.effects import Agent, Infer

OUTCOMES: dict[str, Outcome] = {"ok": "ok", "interrupted": "interrupted"}
"""Of how a request ended; anything else is the class of a failure."""


def request_row(
    agent: Agent,
    effect: Infer,
    turn: int,
    *,
    host: int,
    endpoint: str,
    intended_s: float,
    due_s: float,
    sent_s: float | None,
    first_token_s: float | None,
    last_token_s: float | None,
    completed_s: float,
    prompt_tokens: int | None,
    cached_tokens: int | None,
    written_5m_tokens: int | None,
    written_1h_tokens: int | None,
    ideal_tokens: int,
    output_tokens: int,
    admission_wait_s: float,
    retry_wait_s: float,
    attempts: int,
    ended: str,
    itl_mean_s: float | None,
    itl_max_s: float | None,
    merged_reads: int,
    resumed: bool,
    measured: bool,
    by_tier: tuple[int, ...] | None,
    lost_to: tuple[int, ...] | None,
) -> RequestRow:
    """Return the row; times are of the run's clock.

    `ended` is "ok", "interrupted", or the class of the failure. `prompt_tokens` are as the server counted
    them, None where it did not say.
    """
    planned_tokens = effect.prompt.length
    return RequestRow(
        session=agent.session, agent=agent.path, parent=agent.parent, role=agent.role,
        turn=turn, kind=effect.kind, opened_by=effect.opened_by,
        host=host, endpoint=endpoint,
        intended_s=intended_s, due_s=due_s, sent_s=sent_s,
        first_token_s=first_token_s, last_token_s=last_token_s, completed_s=completed_s,
        prompt_tokens=planned_tokens if prompt_tokens is None else prompt_tokens,
        planned_prompt_tokens=planned_tokens,
        cached_tokens=cached_tokens, ideal_tokens=ideal_tokens, modelled_tokens=None,
        output_tokens=output_tokens, planned_output_tokens=effect.output_tokens,
        rewritten_tokens=effect.rewritten_tokens,
        admission_wait_s=admission_wait_s, retry_wait_s=retry_wait_s, attempts=attempts,
        outcome=OUTCOMES.get(ended, "failed"), error_class=None if ended == "ok" else ended,
        itl_mean_s=itl_mean_s, itl_max_s=itl_max_s, merged_reads=merged_reads,
        resumed=resumed, measured=measured, by_tier=by_tier, lost_to=lost_to,
        echo=effect.echo, prompt_node=effect.prompt.node.name,
        written_5m_tokens=written_5m_tokens, written_1h_tokens=written_1h_tokens,
    )  # fmt: skip
