"""Recorded sessions made to fit a target: lengths times a factor, and those left out that are too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from swarm.config.workload import ReplayConfig
from swarm.errors import ConfigError
from swarm.workload.script import AgentScript, NodeScript, SessionScript, TurnScript


def resized(
    config: ReplayConfig, scripts: tuple[SessionScript, ...]
) -> tuple[tuple[SessionScript, ...], tuple[str, ...]]:
    """Return the sessions that are played, and notes on what was changed of them.

    Raises:
        ConfigError: None is of the lengths that are asked for, or has what sub-agents are asked for.
    """
    factor, most, least = config.context_scale, config.context_max, config.context_min
    notes: list[str] = []
    if factor != 1.0:
        nodes: dict[int, tuple[NodeScript, ...]] = {}
        for script in scripts:
            # Sessions of one namespace share their nodes, and go on sharing them.
            if id(script.nodes) not in nodes:
                nodes[id(script.nodes)] = tuple(_scaled_node(node, factor) for node in script.nodes)
        scripts = tuple(
            replace(
                script,
                nodes=nodes[id(script.nodes)],
                agents=tuple(_scaled_agent(agent, factor) for agent in script.agents),
            )
            for script in scripts
        )
        notes.append(f"prompts and replies have {factor:g} times their recorded length")
    if config.subagents != "any":
        wanted = config.subagents == "with"
        scripts = _kept(
            scripts,
            tuple(script for script in scripts if (len(script.agents) > 1) == wanted),
            f"workload.subagents: {config.subagents}",
            "has none" if wanted else "has some",
            notes,
        )
    if least is not None:
        scripts = _kept(
            scripts,
            tuple(script for script in scripts if longest_tokens(script) >= least),
            f"workload.context_min: {least:,}",
            f"is shorter; the longest request has {max(map(longest_tokens, scripts)):,} tokens",
            notes,
        )
    if most is None:
        return scripts, tuple(notes)
    kept = tuple(script for script in scripts if longest_tokens(script) <= most)
    if not kept:
        shortest = min(map(longest_tokens, scripts))
        raise ConfigError(
            f"workload.context_max: {most:,}: each of the {len(scripts):,} sessions has a longer request; "
            f"the shortest session's longest has {shortest:,} tokens: raise it, or set workload.context_scale"
        )
    if len(kept) < len(scripts):
        notes.append(
            f"left out {len(scripts) - len(kept):,} of {len(scripts):,} recorded sessions: they have "
            f"requests longer than workload.context_max: {most:,}"
        )
    return kept, tuple(notes)


def _kept(
    scripts: tuple[SessionScript, ...],
    kept: tuple[SessionScript, ...],
    asked: str,
    fault: str,
    notes: list[str],
) -> tuple[SessionScript, ...]:
    """Return the sessions that are kept; a note says how many are not."""
    if not kept:
        raise ConfigError(f"{asked}: each of the {len(scripts):,} sessions {fault}")
    if len(kept) < len(scripts):
        count = len(scripts) - len(kept)
        notes.append(f"left out {count:,} of {len(scripts):,} recorded sessions by {asked}")
    return kept


def longest_tokens(script: SessionScript) -> int:
    """Return the tokens of a session's longest request and its reply."""
    return max((turn.length + turn.output for agent in script.agents for turn in agent.turns), default=0)


def _scaled_node(node: NodeScript, factor: float) -> NodeScript:
    tools, system = int(node.tool_tokens * factor), int(node.system_tokens * factor)
    start = tools + system if node.tool_tokens + node.system_tokens else int(node.start * factor)
    return NodeScript(node.parent, start, tools, system)


def _scaled_agent(agent: AgentScript, factor: float) -> AgentScript:
    turns = [
        replace(
            turn,
            length=max(1, int(turn.length * factor)),
            output=max(1, int(turn.output * factor)),
            rewritten=int(turn.rewritten * factor),
        )
        for turn in agent.turns
    ]
    return replace(agent, turns=tuple(_continued(turns)))


def _continued(turns: Sequence[TurnScript]) -> list[TurnScript]:
    """Return turns that are continued only where the next prompt still has room for their reply."""
    following = [*turns[1:], None]
    return [
        replace(
            turn, continues=turn.continues and after is not None and after.length >= turn.length + turn.output
        )
        for turn, after in zip(turns, following, strict=True)
    ]
