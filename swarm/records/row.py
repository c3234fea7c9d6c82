"""One row per logical request: the columns, and nothing else.

Times are seconds on the run's clock (0 = the run's start). Unknown is None, never 0. A row is written once,
when its request has ended, by the host (live) or the kernel (simulated) that ran its agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "failed", "interrupted"]

HOST_LOST = "host_lost"
"""Error class of a request that was open when its host was last heard."""
UNSENT = "unsent"
"""Error class of a turn that was never sent: it still waited for admission when the load ended."""


@dataclass(slots=True)
class RequestRow:
    """What one request was, when it happened and how it ended."""

    session: str
    agent: str
    """The agent's path; with `turn` it names the request."""
    parent: str | None
    role: str
    turn: int
    kind: str
    """work, compact, or primer: asked before measuring, with one token of reply."""
    opened_by: str
    """What the agent did before: start, tool or human."""
    host: int
    endpoint: str
    intended_s: float
    """When the turn was due: the previous completion plus the think time."""
    due_s: float
    """Intended time, or the end of the last deliberate wait (admission, retry) after it, cut off or not."""
    sent_s: float | None
    """First byte of the final attempt sent, None where it was not; equal to `due_s` in a simulation."""
    first_token_s: float | None
    """First non-empty delta: content, reasoning or tool call."""
    last_token_s: float | None
    completed_s: float
    prompt_tokens: int
    """As the server counted them; as planned where it did not say."""
    planned_prompt_tokens: int
    cached_tokens: int | None
    """As the server reported them."""
    ideal_tokens: int
    """Hits with no limits, from this run's own sends, at the target's block size."""
    modelled_tokens: int | None
    """Hits under the experiment's TTL and capacity, where it states them."""
    output_tokens: int
    planned_output_tokens: int
    rewritten_tokens: int
    admission_wait_s: float
    retry_wait_s: float
    attempts: int
    outcome: Outcome
    error_class: str | None
    itl_mean_s: float | None
    itl_max_s: float | None
    merged_reads: int
    resumed: bool
    measured: bool
    """False during warm-up, and of primers."""
    by_tier: tuple[int, ...] | None
    """Cached tokens by tier, in the order of `swarm.hit_names.TIERS`; None where the target does not say."""
    lost_to: tuple[int, ...] | None
    """Ideal minus cached tokens by cause, in the order of `swarm.hit_names.LOST_TO`."""
    echo: bool
    """The agent's next prompt goes on from the real reply, so blocks made by decoding can hit."""
    prompt_node: str
    """Name of the node the prompt ends in: with `prompt_tokens`, the planned content."""
    written_5m_tokens: int | None = None
    written_1h_tokens: int | None = None
    """Prompt tokens that the server says it wrote into its cache, to be kept for five minutes and an hour."""
