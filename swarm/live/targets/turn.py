"""The contract of a target: a turn goes in, what happened comes out."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from swarm.context.tree import Prompt


class Turn(NamedTuple):
    """One model request, ready to be sent."""

    prompt: Prompt
    output_tokens: int
    agent: str
    """Goes into the session header: every agent is a session of its own to a server."""
    session: str
    """The person's session that the agent belongs to; chooses between several endpoints."""
    parent: str | None
    """The agent that spawned this one, for the parent header."""
    request_id: str
    """Unique in the run and the same in every run of a seed; names the retries' stream of chance."""
    keep_reply: bool
    on_first_token: Callable[[], None] | None = None
    """Called once, when the first token of an attempt arrives."""


@dataclass(slots=True)
class TurnResult:
    """What happened to a turn. Times are `time.monotonic()` seconds; None is "was not observed"."""

    outcome: str = "ok"
    """"ok", the failure class of the last attempt, or interrupted."""
    error: str | None = None
    endpoint: str = ""
    http_status: int | None = None
    attempts: int = 0
    sent_s: float | None = None
    """When the first byte of the final attempt was handed to the socket."""
    written_s: float | None = None
    """When the kernel had taken its last byte; seen with the response's head."""
    first_byte_s: float | None = None
    """First bytes of the final attempt's response, whatever they hold."""
    first_token_s: float | None = None
    """First non-empty delta: content, reasoning or tool call, not a role."""
    last_token_s: float | None = None
    completed_s: float = 0.0
    """When the response ended, or the failure was noticed."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    by_tier: tuple[int, ...] | None = None
    """Cached tokens by tier, and lost ones by cause, where the target is an emulated fleet."""
    lost_to: tuple[int, ...] | None = None
    written_5m_tokens: int | None = None
    written_1h_tokens: int | None = None
    """Prompt tokens that the server says it wrote into its cache, by how long it keeps them."""
    output_tokens: int | None = None
    """The server's usage where it reports one, else the deltas counted."""
    output_counted: int = 0
    """Deltas that arrived; a server may put several tokens into one."""
    finish_reason: str | None = None
    reply: str | None = None
    """The reply's text (token ids joined by commas, when the prompt is ids), if the turn keeps it."""
    token_times: array[float] = field(default_factory=lambda: array("d"))
    """One time per delta. Deltas of one read share the time of the read's last segment."""
    merged_reads: int = 0
    """Reads with more than one delta, in which the gaps between deltas are lost."""
    read_lag_s: float = 0.0
    """Longest time that received bytes waited for this process; 0 where the kernel does not stamp."""
    connect_s: float = 0.0
    """Time spent opening connections for the final attempt; 0 on a reused one."""
    reconnects: int = 0
    """Reused connections found closed before a byte of response; not counted as attempts."""
    admission_wait_s: float = 0.0
    """Deliberate waiting before the first attempt."""
    retry_wait_s: float = 0.0
    """Deliberate waiting between attempts, summed."""
    doubts: tuple[str, ...] = ()
    """Why counts of the server are treated as unknown: names of `measure.doubts.DOUBTS`."""
    retry_due_s: float | None = None
    """When the last of these waits was to end, or was cut off: the final attempt's due time."""

    def doubt(self, name: str) -> None:
        """Note once why a count is treated as unknown."""
        if name not in self.doubts:
            self.doubts += (name,)

    def cut(self, at_s: float) -> None:
        """Note that the turn was cut off; a wait for another attempt ends here, and one not sent is none."""
        if self.retry_due_s is not None and self.sent_s is None:
            self.attempts -= 1
            self.retry_wait_s -= max(0.0, self.retry_due_s - at_s)
            self.retry_due_s = min(self.retry_due_s, at_s)
        self.outcome = "interrupted"
        self.completed_s = at_s


class TurnCut(asyncio.CancelledError):
    """The caller was cancelled in a turn; `result` is what had happened until then, `interrupted`."""

    def __init__(self, result: TurnResult) -> None:
        super().__init__()
        self.result = result


class Target(Protocol):
    """Something that answers turns."""

    async def send(self, turn: Turn) -> TurnResult:
        """Carry out a turn; failures are in the result. Only a cancellation is raised, as TurnCut."""

    async def close(self) -> None:
        """Close every connection; turns still open end as failures."""
