"""Plans as scripts that the replay plays, and as recorded sessions that formats write."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from swarm.workload.profile.sample import AgentPlan, ChildPlan, SessionPlan
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from swarm.workload.script import AgentScript, NodeScript, SessionScript, SpawnScript, TurnScript


def script_of(plan: SessionPlan, *, name: str, child_shared_tokens: float) -> SessionScript:
    """Return the session as places in a tree, ready to be played."""
    tree = _Tree()
    agents = [_agent("orchestrator", plan.main, tree.lay(plan.main, None), plan.children)]
    shared: int | None = None
    for child in plan.children:
        if shared is None or child_shared_tokens < 1:
            shared = len(tree.nodes)
            places = tree.lay(child.plan, None)
        else:
            kept = min(round(child_shared_tokens), int(child.plan.input[0]) - 1)
            places = tree.lay(child.plan, (shared, kept))
        agents.append(_agent("subagent", child.plan, places, ()))
    return SessionScript(id=name, scope=None, nodes=tuple(tree.nodes), agents=tuple(agents))


class _Tree:
    """The session's nodes, grown agent by agent."""

    def __init__(self) -> None:
        self.nodes: list[NodeScript] = []

    def lay(self, plan: AgentPlan, base: tuple[int, int] | None) -> list[int]:
        """Return the node of each request; `base` is the place that the agent's context starts with."""
        tools, system = plan.tool_tokens, plan.system_tokens
        if base is None:
            self.nodes.append(NodeScript(-1, tools + system, tools, system))
        else:
            self.nodes.append(NodeScript(self._holder(*base), base[1], 0, 0))
        node = len(self.nodes) - 1
        places = [node]
        before = plan.input[:-1].tolist()
        for length, kept in zip(before, plan.kept[1:].tolist(), strict=True):
            if kept < length:
                self.nodes.append(NodeScript(self._holder(node, kept), kept, 0, 0))
                node = len(self.nodes) - 1
            places.append(node)
        return places

    def _holder(self, node: int, length: int) -> int:
        """Return the node of the path that holds the token before `length`, or the path's first node."""
        while self.nodes[node].parent >= 0 and self.nodes[node].start >= length:
            node = self.nodes[node].parent
        return node


def _agent(role: str, plan: AgentPlan, places: list[int], children: Sequence[ChildPlan]) -> AgentScript:
    spawns: dict[int, list[SpawnScript]] = {}
    for ordinal, child in enumerate(children, 1):
        after_s = max(0.0, child.start_s - float(plan.at_s[child.after]))
        join_at = child.after + 1 if child.joined else None
        spawns.setdefault(child.after, []).append(SpawnScript(ordinal, after_s, join_at))
    inputs, outputs, kept = plan.input.tolist(), plan.output.tolist(), plan.kept.tolist()
    at_s, think_s, service_s = plan.at_s.tolist(), plan.think_s.tolist(), plan.service_s.tolist()
    last = len(inputs) - 1
    turns = []
    for k, length in enumerate(inputs):
        gap_s = at_s[k] - at_s[k - 1] if k else 0.0
        service_before = None if k == 0 or np.isnan(service_s[k - 1]) else service_s[k - 1]
        turns.append(
            TurnScript(
                node=places[k],
                length=length,
                output=outputs[k],
                continues=k < last and places[k + 1] == places[k] and inputs[k + 1] >= length + outputs[k],
                gap_s=gap_s,
                think_s=None if service_before is None else think_s[k],
                api_s=service_before,
                opened_by="start" if k == 0 else "human" if plan.is_human[k] else "tool",
                rewritten=inputs[k - 1] - kept[k] if k else 0,
                spawns=tuple(spawns.get(k, ())),
            )
        )
    return AgentScript(role, tuple(turns), ())


def recorded(
    plan: SessionPlan, script: SessionScript, *, block_tokens: int, start_s: float
) -> RecordedSession:
    """Return the session as a recorder would have written it; its ids are its own."""
    ids = _BlockIds(script, block_tokens)
    main = _requests(plan.main, script.agents[0], ids, start_s)
    entries: list[tuple[float, RecordedRequest | RecordedSubagent]] = [(r.t_s, r) for r in main]
    for ordinal, child in enumerate(plan.children, 1):
        requests = _requests(child.plan, script.agents[ordinal], ids, 0.0)
        duration_s = float(child.plan.at_s[-1] + np.nan_to_num(child.plan.service_s[-1]))
        sub = RecordedSubagent(
            t_s=start_s + child.start_s,
            agent_id=f"{script.id}-{ordinal}",
            kind="subagent",
            duration_s=round(duration_s, 3),
            tool_tokens=child.plan.tool_tokens,
            system_tokens=child.plan.system_tokens,
            requests=tuple(requests),
        )
        entries.append((sub.t_s, sub))
    entries.sort(key=lambda entry: entry[0])
    return RecordedSession(
        id=script.id,
        source=script.id,
        namespace=f"local/{script.id}",
        block_tokens=block_tokens,
        tool_tokens=plan.main.tool_tokens,
        system_tokens=plan.main.system_tokens,
        models=("profile",),
        entries=tuple(entry for _, entry in entries),
    )


def _requests(plan: AgentPlan, agent: AgentScript, ids: _BlockIds, start_s: float) -> list[RecordedRequest]:
    requests = []
    for k, turn in enumerate(agent.turns):
        is_end = k + 1 == len(agent.turns) or agent.turns[k + 1].opened_by == "human"
        service_s = float(plan.service_s[k])
        requests.append(
            RecordedRequest(
                t_s=start_s + float(plan.at_s[k]),
                model="profile",
                streaming=False,
                input_tokens=turn.length,
                output_tokens=turn.output,
                hash_ids=ids.of(turn.node, turn.length),
                input_types=("tool_result",) if turn.opened_by == "tool" else ("text",),
                output_types=("text",) if is_end else ("tool_use",),
                stop="end_turn" if is_end else "tool_use",
                api_s=None if np.isnan(service_s) else service_s,
                think_s=float(plan.think_s[k]),
                ttft_s=None,
            )
        )
    return requests


class _BlockIds:
    """Names of blocks: a block belongs to the node that holds its last token."""

    def __init__(self, script: SessionScript, block_tokens: int) -> None:
        self._nodes = script.nodes
        self._block_tokens = block_tokens
        ends = [0] * len(script.nodes)
        for agent in script.agents:
            for turn in agent.turns:
                ends[turn.node] = max(ends[turn.node], turn.length)
        self._firsts = [0 if node.parent < 0 else node.start // block_tokens for node in script.nodes]
        for index in range(len(ends) - 1, -1, -1):
            node = script.nodes[index]
            if node.parent >= 0:
                ends[node.parent] = max(ends[node.parent], min(node.start, ends[index]))
        sizes = [max(0, end // block_tokens - first) for end, first in zip(ends, self._firsts, strict=True)]
        self._bases = [1, *(1 + np.cumsum(sizes)).tolist()]

    def of(self, node: int, length: int) -> array[int]:
        """Return the ids of a prompt's whole blocks."""
        end = length // self._block_tokens
        ranges: list[range] = []
        while True:
            first = min(self._firsts[node], end)
            base = self._bases[node] - self._firsts[node]
            ranges.append(range(base + first, base + end))
            if first == 0 or self._nodes[node].parent < 0:
                break
            node, end = self._nodes[node].parent, first
        ids = array("q")
        for part in reversed(ranges):
            ids.extend(part)
        return ids
