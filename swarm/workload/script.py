"""A recorded session compiled to a script: the same prompts as places in a tree, no ids left.

A script is small plain data (a few numbers a turn), so that it can be sent to any host.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarm.errors import TraceError
from swarm.workload.block_paths import BrokenChainError
from swarm.workload.effects import ThinkKind
from swarm.workload.recorded import NOTICE, RecordedRequest, RecordedSession, RecordedSubagent

_CLOCK_S = 1.0
"""Recorders round the times of rows to whole seconds, and think times too."""


@dataclass(frozen=True, slots=True)
class NodeScript:
    """A node by its parent's index in the session's table; `start` is where it branches off.

    A parent of -1 is the agent's shared prefix (of `tool_tokens` + `system_tokens`), or nothing.
    """

    parent: int
    start: int
    tool_tokens: int
    system_tokens: int


@dataclass(frozen=True, slots=True)
class SpawnScript:
    """A sub-agent's start: `after_s` its parent's previous turn was due.

    `join_at`: the index of its parent's turn that waits for it; None: only the parent's end does.
    """

    agent: int
    after_s: float
    join_at: int | None


@dataclass(frozen=True, slots=True)
class TurnScript:
    """One recorded request."""

    node: int
    length: int
    output: int
    continues: bool
    """The next request of the agent holds this one's reply where it was given."""
    gap_s: float
    """From the previous request's start (the agent's, for the first) to this one's."""
    think_s: float | None
    api_s: float | None
    opened_by: ThinkKind
    rewritten: int
    spawns: tuple[SpawnScript, ...]
    """Sub-agents that start after this request and before the agent's next one."""


@dataclass(frozen=True, slots=True)
class AgentScript:
    """One recorded agent."""

    role: str
    turns: tuple[TurnScript, ...]
    early_spawns: tuple[SpawnScript, ...]
    """Sub-agents that start before the agent's first request."""


@dataclass(frozen=True, slots=True)
class SessionScript:
    """One recorded session; agent 0 is the orchestrator.

    `scope` names the id namespace where sessions share one.
    """

    id: str
    scope: str | None
    nodes: tuple[NodeScript, ...]
    agents: tuple[AgentScript, ...]
    start_s: float = 0.0
    """When it was recorded to start, on a clock that its trace's sessions share."""


class Trie:
    """The context tree of one id namespace, grown request by request."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._owner_of: dict[int, int] = {}
        self._before: dict[int, int | None] = {}
        """The id before each, None where it is the first."""
        self._blocks_end: list[int] = []
        self.nodes: list[NodeScript] = []

    def place(self, ids: Sequence[int], input_tokens: int, tool_tokens: int, system_tokens: int) -> int:
        """Return the node of a request and add what is new of it."""
        known = self._leading_run(ids)
        self._learn(ids, known)
        node = self._owner_of[ids[known - 1]] if known else -1
        is_new = known < len(ids) or node < 0
        if is_new and (node < 0 or self._blocks_end[node] > known):
            node = self._branch(node, known, input_tokens, tool_tokens, system_tokens)
        for block_id in ids[known:]:
            self._owner_of[block_id] = node
        self._blocks_end[node] = max(self._blocks_end[node], len(ids))
        return node

    def _leading_run(self, ids: Sequence[int]) -> int:
        known = self._owner_of
        for index, block_id in enumerate(ids):
            if block_id not in known:
                return index
        return len(ids)

    def _learn(self, ids: Sequence[int], known: int) -> None:
        """Keep what stands before each id; one that stood behind another before is no name of a prefix."""
        before = self._before
        last: int | None = None
        for index, block_id in enumerate(ids):
            if index < known or block_id in before:
                if before.get(block_id, -1) != last:
                    raise BrokenChainError(
                        f"block {index} follows other blocks than it did before: ids must be prefix-chained"
                    )
            else:
                before[block_id] = last
            last = block_id

    def _branch(self, parent: int, blocks: int, input_tokens: int, tools: int, system: int) -> int:
        start = blocks * self._block_tokens
        if parent < 0:
            shared = tools + system
            if 0 < shared < input_tokens:
                start = shared
            else:
                tools = system = 0
        self.nodes.append(NodeScript(parent, start, tools, system))
        self._blocks_end.append(blocks)
        return len(self.nodes) - 1


def compile_session(session: RecordedSession, shared_trie: Trie | None) -> SessionScript:
    """Return the session's script; `shared_trie` is the tree of a namespace that spans sessions.

    Raises:
        TraceError: A request without input, or ids that are not prefix-chained.
    """
    trie = shared_trie if shared_trie is not None else Trie(session.block_tokens)
    requests = _in_time_order(session)
    placed: dict[int, int] = {}
    for at_s, request, tools, system in requests:
        place = f"session {session.id}, the request at {at_s:g} s"
        if request.input_tokens <= 0:
            raise TraceError(session.source, place, "has no input tokens: it cannot be sent again")
        try:
            node = trie.place(request.hash_ids, request.input_tokens, tools, system)
        except BrokenChainError as error:
            raise TraceError(session.source, place, str(error)) from error
        placed[id(request)] = node
    subagents = [entry for entry in session.entries if isinstance(entry, RecordedSubagent)]
    main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    size = session.block_tokens
    start_s = min((entry.t_s for entry in session.entries), default=0.0)
    agents = [_compile_agent("orchestrator", main, subagents, placed, size, start_s)]
    agents += [_compile_agent("subagent", list(sub.requests), [], placed, size, 0.0) for sub in subagents]
    return SessionScript(
        id=session.id,
        scope=session.namespace if shared_trie is not None else None,
        nodes=tuple(trie.nodes) if shared_trie is None else (),
        agents=tuple(agents),
        start_s=start_s,
    )


def _in_time_order(session: RecordedSession) -> list[tuple[float, RecordedRequest, int, int]]:
    rows: list[tuple[float, RecordedRequest, int, int]] = []
    for entry in session.entries:
        if isinstance(entry, RecordedRequest):
            rows.append((entry.t_s, entry, session.tool_tokens, session.system_tokens))
        else:
            rows += [
                (entry.t_s + request.t_s, request, entry.tool_tokens, entry.system_tokens)
                for request in entry.requests
            ]
    return sorted(rows, key=lambda row: row[0])


def _compile_agent(
    role: str,
    requests: list[RecordedRequest],
    subagents: Iterable[RecordedSubagent],
    placed: dict[int, int],
    block_tokens: int,
    start_s: float,
) -> AgentScript:
    """Return an agent that began at `start_s`, on the clock of its requests."""
    requests = sorted(requests, key=lambda request: request.t_s)
    starts = [request.t_s for request in requests]
    spawns: list[list[SpawnScript]] = [[] for _ in range(len(requests) + 1)]
    ends: list[list[float]] = [[] for _ in range(len(requests) + 1)]
    """Of the sub-agents among those spawns."""
    for ordinal, sub in enumerate(subagents):
        before = sum(start <= sub.t_s for start in starts)
        since = starts[before - 1] if before else start_s
        join_at = _join_at(sub, before, requests, starts)
        spawns[before].append(SpawnScript(ordinal + 1, max(0.0, sub.t_s - since), join_at))
        ends[before].append(sub.end_s)
    for group in spawns:
        group.sort(key=lambda spawn: spawn.after_s)
    turns = []
    for index, request in enumerate(requests):
        node = placed[id(request)]
        previous = requests[index - 1] if index else None
        following = requests[index + 1] if index + 1 < len(requests) else None
        turns.append(
            TurnScript(
                node=node,
                length=request.input_tokens,
                output=max(1, request.output_tokens),
                continues=following is not None
                and placed[id(following)] == node
                and following.input_tokens >= request.input_tokens + request.output_tokens,
                gap_s=max(0.0, request.t_s - (previous.t_s if previous else start_s)),
                think_s=_think_s(previous, request, ends[index]),
                api_s=previous.api_s if previous else None,
                opened_by=_opened_by(request, index),
                rewritten=_rewritten(previous, request, block_tokens),
                spawns=tuple(spawns[index + 1]),
            )
        )
    return AgentScript(role, tuple(turns), tuple(spawns[0]))


def _join_at(
    sub: RecordedSubagent, before: int, requests: Sequence[RecordedRequest], starts: Sequence[float]
) -> int | None:
    """Return the turn that waited for a sub-agent: the next one if it came after its end.

    One that ran in the background was waited for by the turn that the notice of its end opened.
    """
    after = bisect_left(starts, sub.end_s)
    if after <= before < len(starts):
        return before
    is_told = after < len(starts) and NOTICE in requests[after].input_types
    return after if is_told else None


def _think_s(
    previous: RecordedRequest | None, request: RecordedRequest, subagent_ends: Sequence[float]
) -> float | None:
    """Return the think time since the previous request's end, or None where none was recorded.

    Where that end was not recorded, recorders count from the last one that they know, long before it. Some
    count from the end of the row before, which may be a sub-agent's.
    """
    think_s = request.think_s
    if previous is None or think_s is None:
        return think_s
    since_s = request.t_s - previous.t_s
    if think_s > since_s:
        return None
    own_s = None if previous.api_s is None else since_s - previous.api_s
    if own_s is not None and abs(think_s - own_s) <= _CLOCK_S:
        return think_s
    if any(abs(think_s - (request.t_s - end_s)) <= _CLOCK_S for end_s in subagent_ends):
        return None if own_s is None else max(0.0, own_s)
    return think_s


def _opened_by(request: RecordedRequest, index: int) -> ThinkKind:
    if index == 0:
        return "start"
    return "tool" if "tool_result" in request.input_types else "human"


def _rewritten(previous: RecordedRequest | None, request: RecordedRequest, block_tokens: int) -> int:
    """Return the tokens of the previous prompt's whole blocks that this one no longer starts with."""
    if previous is None or not previous.hash_ids:
        return 0
    shared = 0
    for ours, theirs in zip(request.hash_ids, previous.hash_ids, strict=False):
        if ours != theirs:
            break
        shared += 1
    whole = previous.input_tokens // block_tokens
    return max(0, whole - shared) * block_tokens
