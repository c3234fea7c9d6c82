"""Block ids from counts: which prompts share which prefix, told from what the provider read and wrote.

A log without content still says of each request how many tokens were read from the cache. Within a chain
the provider reads what the request before it had read and written; where it reads less, the blocks have
expired (their ids stay), or the content has changed (new ids from there on). Ids made so, replayed through an
endless cache with the provider's TTL, give the recorded reads again, but for what another, unlogged request
had warmed.

Knows: counts and times of requests. Does not know: files, formats.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from swarm.streams import digest64
from swarm.workload.formats.agent_logs.logged import LoggedAgent, LoggedRequest, Tally

TTL_S = 300.0
"""Of a cache whose TTL no log states: the shorter of those that providers sell."""
POOL_LEAST_TOKENS = 1_024
"""Providers cache no shorter prefix."""
_ID_BITS = 62
_SERIAL_BITS = 22


@dataclass(slots=True)
class _Context:
    """A request's prompt as ids of whole blocks, and how much of it the provider holds."""

    ids: array[int]
    held_tokens: int
    input_tokens: int
    start_s: float
    ttl_s: float


class Names:
    """New ids, different for every owner; the same for the same owner, whatever else is read."""

    def __init__(self, owner: str) -> None:
        self._base = (digest64(owner) >> (64 - _ID_BITS)) & ~((1 << _SERIAL_BITS) - 1)
        self._next = 0
        self._owner = owner
        self._lap = 0

    def take(self, count: int) -> range:
        """Return ids that nobody has."""
        if self._next + count >= 1 << _SERIAL_BITS:
            self._lap += 1
            self._base = (digest64(f"{self._owner}\0{self._lap}") >> (64 - _ID_BITS)) & ~(
                (1 << _SERIAL_BITS) - 1
            )
            self._next = 0
        first = self._base + self._next
        self._next += count
        return range(first, first + count)


class Pools:
    """Prefixes that sessions share: a system prompt and its tools, by model and kind of agent."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._ids: dict[tuple[str, str], array[int]] = {}
        self._names: dict[tuple[str, str], Names] = {}
        self.lengths: dict[tuple[str, str], Counter[int]] = {}
        """How often a shared prefix of each length was read."""

    def prefix(self, key: tuple[str, str], tokens: int) -> array[int]:
        """Return the ids of the shared prefix's whole blocks."""
        ids = self._ids.setdefault(key, array("q"))
        names = self._names.setdefault(key, Names("\0".join(("pool", *key))))
        count = tokens // self._block_tokens
        if count > len(ids):
            ids.extend(names.take(count - len(ids)))
        self.lengths.setdefault(key, Counter())[tokens] += 1
        return ids[:count]

    def knows(self, key: tuple[str, str], tokens: int) -> bool:
        """Return whether a shared prefix of this very length was read before."""
        return tokens in self.lengths.get(key, ())


@dataclass(slots=True)
class Chains:
    """The chains of one session: what each agent's last request left cached."""

    session: str
    block_tokens: int
    pools: Pools
    tally: Tally
    misses_by_routing: bool
    """Whether a prompt that grew and was read short met a server without its blocks, and not new content."""
    sends_replies: bool = False
    """Whether a prompt that goes on has all of the reply before it; else it is at least the prompt before."""
    _names: Names = field(init=False)
    _last: dict[tuple[str, str], _Context] = field(default_factory=dict)
    """By agent and model."""
    _recent: dict[str, list[_Context]] = field(default_factory=dict)
    """By model: the last contexts of any agent, the newest last."""

    def __post_init__(self) -> None:
        self._names = Names(self.session)

    def ids_of(self, agent: LoggedAgent, request: LoggedRequest) -> Sequence[int]:
        """Return the ids of a request's whole blocks; requests come in the order of their starts."""
        if request.ids is not None:
            return request.ids
        key = (agent.agent_id, request.model)
        prefix, why = self._prefix(agent, request, self._last.get(key))
        self.tally.inferred[why] += 1
        whole = request.input_tokens // self.block_tokens
        ids = prefix[:whole]
        ids.extend(self._names.take(whole - len(ids)))
        context = _Context(
            ids, request.held_tokens, request.input_tokens, request.start_s, request.ttl_s or TTL_S
        )
        self._last[key] = context
        recent = self._recent.setdefault(request.model, [])
        recent.append(context)
        del recent[:-RECENT_MAX]
        return ids

    def _prefix(
        self, agent: LoggedAgent, request: LoggedRequest, last: _Context | None
    ) -> tuple[array[int], str]:
        """Return the ids that a request shares with what was cached, and how that was told."""
        read, block = request.read_tokens, self.block_tokens
        if not request.is_told:
            continues = last is not None and request.input_tokens >= last.input_tokens
            return (last.ids if last is not None and continues else array("q")), UNTOLD
        pool = (request.model, agent.kind)
        if last is not None and read == last.held_tokens:
            return last.ids[: read // block], EXACT
        if (
            last is not None
            and self._goes_on(request, last)
            and self.misses_by_routing
            and read < last.held_tokens
        ):
            return last.ids[: last.held_tokens // block], self._why_short(request, last)
        for other in reversed(self._recent.get(request.model, [])):
            if read and other.held_tokens == read:
                return other.ids[: read // block], OTHER
        if last is None:
            if read < POOL_LEAST_TOKENS:
                return array("q"), COLD
            return self.pools.prefix(pool, read), SHARED
        if read > last.held_tokens:
            # What lies between was sent by a request that no log has.
            return last.ids[: last.held_tokens // block], ABOVE
        is_shared = self.pools.knows(pool, read) or read == 0
        if is_shared and request.start_s - last.start_s > last.ttl_s:
            return last.ids[: last.held_tokens // block], EXPIRED
        if read and self.pools.knows(pool, read):
            return self.pools.prefix(pool, read), CHANGED
        return last.ids[: read // block], CHANGED

    def _goes_on(self, request: LoggedRequest, last: _Context) -> bool:
        """Say whether a prompt is long enough to hold all that the one before it had."""
        return request.input_tokens >= (last.held_tokens if self.sends_replies else last.input_tokens)

    def _why_short(self, request: LoggedRequest, last: _Context) -> str:
        """Return why a prompt that only grew was read short of what the one before had left."""
        if request.start_s - last.start_s > last.ttl_s:
            return EXPIRED
        return NEAR if last.held_tokens - request.read_tokens <= NEAR_TOKENS else ROUTED


NEAR_TOKENS = 1_024
RECENT_MAX = 64
"""Contexts of one model in which another agent's prefix is looked for."""
EXACT = "reads that are what the request before had read and written"
OTHER = "reads that continue another agent's prompt"
SHARED = "first requests that read a prefix which other sessions share"
COLD = "first requests that read nothing"
ABOVE = "reads above that, warmed by a request that is not logged"
EXPIRED = "reads below that after the TTL: the content is taken to be the same"
CHANGED = "reads below that within the TTL: the content is taken to have changed there"
ROUTED = "reads below that of a prompt that grew: another server answered, the content is the same"
NEAR = "reads up to 1,024 tokens below that of a prompt that grew: its newest blocks were not cached yet"
UNTOLD = "prompts without counts of a cache, taken to continue the one before where they are longer"
KINDS = (EXACT, OTHER, SHARED, COLD, ABOVE, EXPIRED, CHANGED, ROUTED, NEAR, UNTOLD)


@dataclass(frozen=True, slots=True)
class Identity:
    """How well reads follow from the requests before them."""

    pairs: int
    """Requests with one before them in the same chain, within its TTL and of its model."""
    exact: int
    """Those that read exactly what that one had read and written."""

    @property
    def share(self) -> float | None:
        """Exact ones among the pairs; None where there are none."""
        return self.exact / self.pairs if self.pairs else None


class Tail:
    """How much of a reply's end a cache of blocks does not keep, by the reads that came before.

    A read is the whole blocks of all that the request before had, prompt and reply, less a few last tokens
    of the reply. How few depends on the model and is in no log: it is the smallest count that explains the
    most earlier reads of the session, 0 before there is any.
    """

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._explained = [0] * block_tokens
        """By a count of last tokens: how many earlier reads it explains."""

    def held(self, total_tokens: int) -> int:
        """Return what is read after a request of so many tokens, prompt and reply."""
        tail = self._explained.index(max(self._explained))
        return max(0, total_tokens - tail) // self._block_tokens * self._block_tokens

    def learn(self, total_tokens: int, read_tokens: int) -> None:
        """Note what was read after a request of so many tokens."""
        least = total_tokens - read_tokens - self._block_tokens + 1
        for tail in range(max(0, least), min(self._block_tokens, total_tokens - read_tokens + 1)):
            self._explained[tail] += 1


def identity_of(
    agents: Iterable[LoggedAgent], *, in_loops: bool = False, cache_block_tokens: int | None = None
) -> Identity:
    """Predict each read from the requests before it, and count how often that is exact.

    Nothing of request n is used to predict read(n) but its time and its model. `in_loops`: only requests
    that a tool opened, where a client is known to drop a part of its prompt at a person's turn.
    `cache_block_tokens`: of a cache that reads whole blocks of this size, prompt and reply, less a `Tail`.
    """
    pairs = exact = 0
    tails: dict[str, Tail] = {}
    for agent in agents:
        for before, after in pairs_of(agent.requests):
            if not after.is_told or (in_loops and after.opened_by != "tool"):
                continue
            if after.ids is not None and not before.written_tokens:
                # Its words say what it shares; in which blocks the provider kept it nobody says.
                continue
            pairs += 1
            held = before.held_tokens
            if cache_block_tokens is not None:
                tail = tails.setdefault(after.model, Tail(cache_block_tokens))
                total = before.input_tokens + before.output_tokens
                held = tail.held(total)
                tail.learn(total, after.read_tokens)
            exact += after.read_tokens == held
    return Identity(pairs, exact)


def pairs_of(requests: Sequence[LoggedRequest]) -> Iterable[tuple[LoggedRequest, LoggedRequest]]:
    """Yield neighbours of one chain whose second came within the TTL of what the first had written."""
    last: dict[str, LoggedRequest] = {}
    for request in requests:
        before = last.get(request.model)
        if before is not None and request.start_s - before.start_s <= (before.ttl_s or TTL_S):
            yield before, request
        last[request.model] = request
