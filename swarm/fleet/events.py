"""What goes into a fleet and what comes out of it.

A fleet is a state machine with four calls: `submit(request, now_s)`, `cancel(request_id, now_s)`,
`next_event_s(tokens=False)` (None when nothing is due) and `advance(now_s, tokens=False) -> list[Event]`,
events in time order, each with its own `at_s <= now_s`. Callers advance to now first; extra calls never
change an event.

What each request needs is made by `tuple.__new__`, in the order of the fields and with all of them: the maker
that a named tuple brings along stays interpreted.
"""

from typing import NamedTuple

from swarm.context.tree import Prompt


class FleetRequest(NamedTuple):
    """A request for the fleet. `echo` and the tree place mean what they mean in `workload.effects.Infer`.

    Its first `keep_tokens` tokens are to be kept for `keep_s` after their last use, whatever TTLs say.
    """

    request_id: int
    session: str
    agent: str
    prompt: Prompt
    output_tokens: int
    echo: bool
    keep_tokens: int = 0
    keep_s: float = 0.0


class CacheUse(NamedTuple):
    """How a request's prompt was met by the caches, in tokens.

    `by_tier` and `lost_to` follow `TIERS` and `LOST_TO` of `swarm.hit_names`;
    `ideal_tokens - cached_tokens == sum(lost_to)`.
    """

    prompt_tokens: int
    cached_tokens: int
    ideal_tokens: int
    by_tier: tuple[int, ...]
    lost_to: tuple[int, ...]


class FirstToken(NamedTuple):
    """The first output token left the model."""

    at_s: float
    request_id: int
    cache: CacheUse
    replica: int


class Tokens(NamedTuple):
    """Output tokens up to `total` have left the model; only with `tokens=True`."""

    at_s: float
    request_id: int
    total: int


class Finished(NamedTuple):
    """All output tokens have left the model; `itl_s` are the request's mean gap and its largest one."""

    at_s: float
    request_id: int
    output_tokens: int
    itl_mean_s: float
    itl_max_s: float


class Refused(NamedTuple):
    """The fleet does not serve this request; `retry_after_s` is None where trying again is of no use."""

    at_s: float
    request_id: int
    reason: str
    retry_after_s: float | None


Event = FirstToken | Tokens | Finished | Refused
