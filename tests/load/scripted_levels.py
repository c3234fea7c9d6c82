"""Rows of a world that answers by a rule, without a fleet."""

from __future__ import annotations

from swarm.context.tree import root
from swarm.measure.request_row import request_row
from swarm.records.row import RequestRow
from swarm.workload.effects import Agent, Infer

AGENT = Agent("s000000", "s000000", None, "orchestrator", dict)  # type: ignore[arg-type]
EFFECT = Infer(root("s000000#0").extend(64), 1, False)


def ended_row(at_s: float, ttft_s: float, *, error_class: str | None = None) -> RequestRow:
    """Return a request whose one token came at a time."""
    return request_row(
        AGENT,
        EFFECT,
        0,
        host=0,
        endpoint="",
        intended_s=at_s - ttft_s,
        due_s=at_s - ttft_s,
        sent_s=at_s - ttft_s,
        first_token_s=at_s,
        last_token_s=at_s,
        completed_s=at_s,
        prompt_tokens=None,
        cached_tokens=None,
        written_5m_tokens=None,
        written_1h_tokens=None,
        ideal_tokens=0,
        output_tokens=1,
        admission_wait_s=0.0,
        retry_wait_s=0.0,
        attempts=1,
        ended=error_class or "ok",
        itl_mean_s=None,
        itl_max_s=None,
        merged_reads=0,
        resumed=False,
        measured=True,
        by_tier=None,
        lost_to=None,
    )
