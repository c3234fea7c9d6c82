"""Agents' logs as recorded sessions: agents in a tree, blocks with names, times between requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.identity import Chains
from swarm.workload.formats.agent_logs.logged import LoggedAgent, LoggedRequest
from swarm.workload.formats.fields import SESSION_BLOCKS_MAX, TOO_MANY_BLOCKS
from swarm.workload.recorded import NOTICE, RecordedRequest, RecordedSession, RecordedSubagent

INPUT_TYPES = {"start": ("text",), "human": ("text",), "tool": ("tool_result",)}
NOTICED = ("tool_result", NOTICE)
"""Of a request that neither a person nor a tool opened: no person waited before it."""
COMPACTION = ("tool_result", "compaction")


def check_lengths(source: str, name: str, requests: Iterable[LoggedRequest], block_tokens: int) -> None:
    """Look at what prompts will take before they are laid out: a count in a log must not fill the memory.

    Raises:
        TraceError: They have more blocks together than a session may hold.
    """
    if sum(request.input_tokens // block_tokens for request in requests) > SESSION_BLOCKS_MAX:
        raise TraceError(source, f"session {name}", TOO_MANY_BLOCKS)


def session_of(
    name: str, source: str, agents: Sequence[LoggedAgent], chains: Chains, space: str, project: str
) -> RecordedSession:
    """Return one session; its times are Unix seconds, so that sessions stand to each other as they were.

    `agents` begins with the main one; one that only has sub-agents has none.
    """
    recorded = {id(agent): _requests(agent, ids) for agent, ids in _ids_by_agent(agents, chains)}
    main = [request for agent in agents if not agent.kind for request in recorded[id(agent)]]
    subagents = [_subagent(agent, recorded[id(agent)]) for agent in agents if agent.kind]
    both: list[RecordedRequest | RecordedSubagent] = [*main, *subagents]
    entries = sorted(both, key=lambda entry: entry.t_s)
    models = dict.fromkeys(request.model for agent in agents for request in agent.requests)
    return RecordedSession(
        id=name,
        source=source,
        namespace=f"global/{space}/{chains.block_tokens}",
        block_tokens=chains.block_tokens,
        tool_tokens=0,
        system_tokens=0,
        models=tuple(models),
        entries=tuple(entries),
        project=project,
    )


def _ids_by_agent(
    agents: Sequence[LoggedAgent], chains: Chains
) -> Iterable[tuple[LoggedAgent, list[Sequence[int]]]]:
    """Return each agent with the ids of its requests, named in the order in which all were sent."""
    ids: dict[int, list[Sequence[int]]] = {id(agent): [] for agent in agents}
    in_order = sorted(
        (
            (request.start_s, place, request)
            for place, agent in enumerate(agents)
            for request in agent.requests
        ),
        key=lambda row: row[:2],
    )
    for _, place, request in in_order:
        ids[id(agents[place])].append(chains.ids_of(agents[place], request))
    return [(agent, ids[id(agent)]) for agent in agents]


def _requests(agent: LoggedAgent, ids: Sequence[Sequence[int]]) -> tuple[RecordedRequest, ...]:
    made = []
    before: LoggedRequest | None = None
    for request, blocks in zip(agent.requests, ids, strict=True):
        think_s = None if before is None else max(0.0, request.start_s - before.end_s)
        made.append(_request(request, blocks, think_s))
        before = request
    return tuple(made)


def _request(request: LoggedRequest, ids: Sequence[int], think_s: float | None) -> RecordedRequest:
    inputs = COMPACTION if request.is_compaction else INPUT_TYPES.get(request.opened_by, NOTICED)
    return RecordedRequest(
        t_s=request.start_s,
        model=request.model,
        streaming=True,
        input_tokens=request.input_tokens,
        output_tokens=request.output_tokens,
        hash_ids=ids,
        input_types=inputs,
        output_types=request.output_types,
        stop=request.stop,
        api_s=request.end_s - request.start_s,
        think_s=think_s,
        ttft_s=None if request.first_s is None else request.first_s - request.start_s,
        read_tokens=request.read_tokens if request.is_told else None,
        written_tokens=request.written_tokens if request.is_told else None,
        written_ttl_s=request.ttl_s,
    )


def _subagent(agent: LoggedAgent, requests: tuple[RecordedRequest, ...]) -> RecordedSubagent:
    start_s = min(request.t_s for request in requests)
    end_s = max(request.end_s for request in agent.requests)
    return RecordedSubagent(
        t_s=start_s,
        agent_id=agent.agent_id,
        kind=agent.kind,
        duration_s=end_s - start_s,
        tool_tokens=0,
        system_tokens=0,
        requests=tuple(replace(request, t_s=request.t_s - start_s) for request in requests),
        status=agent.status,
        total_tokens=sum(request.input_tokens + request.output_tokens for request in requests),
    )
