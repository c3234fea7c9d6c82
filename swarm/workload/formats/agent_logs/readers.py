"""Agents' logs by the name of their format: which files make a session, and what a session is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import orjson

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs import (
    agentic,
    bailian,
    bodies,
    captured,
    codex,
    copilot,
    dynamo,
    gateways,
    gemini,
    kimi,
    litellm,
    opencode,
    otel,
    pi,
    qwen,
    tracelab,
)
from swarm.workload.formats.agent_logs.claude_code import SessionReader, is_agent_file
from swarm.workload.formats.agent_logs.codex import Rollout, read_rollout
from swarm.workload.formats.agent_logs.identity import Chains, Identity, Pools, identity_of
from swarm.workload.formats.agent_logs.logged import LoggedAgent, Tally
from swarm.workload.formats.agent_logs.rows import Parser, Rows
from swarm.workload.formats.agent_logs.sessions import check_lengths, session_of
from swarm.workload.formats.files import OnBroken, head_lines, shown_name
from swarm.workload.recorded import RecordedSession

BLOCK_TOKENS = 64
"""Of ids made from counts: providers that name none count to the token."""
META_BYTES_MAX = 1 << 20


class LogReader(Protocol):
    """Reads one format of logs; made anew for each reading."""

    def units(self, files: Sequence[Path]) -> list[tuple[Path, ...]]:
        """Return the files in groups that are read together, in the order in which sessions began."""

    def read(self, unit: tuple[Path, ...], on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield the sessions of a group."""


class ClaudeCode:
    """Claude Code: a main file, and those of its sub-agents beside it or in `SESSION/subagents/`."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seen: set[tuple[str, str]] = set()
        self._pools = Pools(BLOCK_TOKENS)

    def units(self, files: Sequence[Path]) -> list[tuple[Path, ...]]:
        """Return each session's files, the main one first; sessions are in the order in which they began."""
        groups: dict[tuple[str, str], list[Path]] = {}
        began: dict[tuple[str, str], str] = {}
        for file in files:
            session, at = _session_and_time(file)
            key = (str(_place(file)), session)
            groups.setdefault(key, []).append(file)
            began[key] = min(at, began.get(key, at))
        for found in groups.values():
            found.sort(key=lambda file: (is_agent_file(file) is not None, file.name))
        return [tuple(groups[key]) for key in sorted(groups, key=lambda key: (began[key], key))]

    def read(self, unit: tuple[Path, ...], on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield the session, unless all that it holds was in an earlier one."""
        reader = SessionReader(self._seen, self._tally, on_broken)
        reader.kinds.update(_kinds(unit))
        agents: list[LoggedAgent] = []
        for file in unit:
            agents += reader.agents(file)
        summaries = [agent for agent in agents if agent.agent_id.startswith("acompact")]
        for agent in summaries:
            agent.kind = ""
        if reader.compactions > len(summaries):
            self._tally.missing["summaries of full contexts, whose requests this log does not count"] += (
                reader.compactions - len(summaries)
            )
        if not agents:
            return
        name = _session_and_time(unit[0])[0]
        chains = Chains(_owner(unit, name), BLOCK_TOKENS, self._pools, self._tally, misses_by_routing=False)
        _note_identity(identity_of(agents), self._tally)
        if _is_bounded(name, unit, agents, chains, on_broken):
            yield session_of(name, shown_name(unit[0]), agents, chains, "claude_code", _place(unit[0]).name)


class Codex:
    """Codex: a file a session; a sub-agent's names its parent."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seen: codex.Seen = set()
        self._pools = Pools(BLOCK_TOKENS)

    def units(self, files: Sequence[Path]) -> list[tuple[Path, ...]]:
        """Return each session's files with those of its sub-agents, of theirs and so on."""
        parents: dict[str, str] = {}
        by_id: dict[str, list[Path]] = {}
        for file in files:
            own, parent = _codex_ids(file)
            by_id.setdefault(own, []).append(file)
            if parent:
                parents[own] = parent
        groups: dict[str, list[Path]] = {}
        for own, found in by_id.items():
            root, steps = own, 0
            while parents.get(root) in by_id and steps < len(by_id):
                root, steps = parents[root], steps + 1
            groups.setdefault(root, []).extend(found)
        return [
            tuple(sorted(found, key=lambda file: (file not in by_id[root], file.name)))
            for root, found in groups.items()
        ]

    def read(self, unit: tuple[Path, ...], on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield the session; a thread that is in several files is one agent."""
        rollouts: dict[str, Rollout] = {}
        for file in unit:
            found = read_rollout(file, self._seen, self._tally, on_broken)
            before = rollouts.setdefault(found.session, found)
            if before is not found:
                before.requests += found.requests
                before.requests.sort(key=lambda request: request.start_s)
        main = next(iter(rollouts))
        agents = [
            LoggedAgent(
                "" if own == main else own,
                "" if own == main else each.kind or "subagent",
                each.requests,
            )
            for own, each in rollouts.items()
            if each.requests
        ]
        if not agents:
            return
        chains = Chains(
            _owner(unit, main),
            BLOCK_TOKENS,
            self._pools,
            self._tally,
            misses_by_routing=True,
            sends_replies=True,
        )
        in_loops = identity_of(agents, in_loops=True, cache_block_tokens=codex.CACHE_BLOCK_TOKENS)
        _note_identity(in_loops, self._tally)
        if _is_bounded(main, unit, agents, chains, on_broken):
            project = rollouts[main].project
            yield session_of(main, shown_name(unit[0]), agents, chains, "codex", project)


PARSERS: dict[str, Parser] = {
    "capture": captured.parse,
    "otel": otel.parse,
    "litellm": litellm.parse,
    "bodies": bodies.parse,
    "dynamo": dynamo.parse,
    "opencode": opencode.parse,
    "gemini": gemini.parse,
    "kimi": kimi.parse,
    "qwen": qwen.parse,
    "copilot": copilot.parse,
    "pi": pi.parse,
    "tracelab": tracelab.parse,
    "bailian": bailian.parse,
    "agentic_mooncake": agentic.parse,
    "langfuse": gateways.langfuse,
    "openrouter": gateways.openrouter,
}
READERS: dict[str, Callable[[Tally], LogReader]] = {
    "claude_code": ClaudeCode,
    "codex": Codex,
    **{name: partial(Rows, parse, name) for name, parse in PARSERS.items()},
}


def _place(file: Path) -> Path:
    """Return the folder of a project, in which a session's main file stands."""
    return file.parent.parent.parent if file.parent.name == "subagents" else file.parent


def _is_bounded(
    name: str, unit: Sequence[Path], agents: Sequence[LoggedAgent], chains: Chains, on_broken: OnBroken
) -> bool:
    """Say whether a session's prompts may be laid out; else it goes to `on_broken`."""
    requests = (request for agent in agents for request in agent.requests)
    try:
        check_lengths(shown_name(unit[0]), name, requests, chains.block_tokens)
    except TraceError as error:
        on_broken(error)
        return False
    return True


def _owner(unit: Sequence[Path], session: str) -> str:
    """Return whose blocks a session's are: another file may hold one of the same name, and other requests."""
    return f"{shown_name(unit[0])}\0{session}"


def _note_identity(found: Identity, tally: Tally) -> None:
    """Add how often a read follows from the requests before it."""
    tally.pairs += found.pairs
    tally.exact += found.exact


def _session_and_time(file: Path) -> tuple[str, str]:
    """Return the session that a file belongs to, and its first time."""
    session, at = "", ""
    for value in head_lines(file):
        if not session and type(value.get("sessionId")) is str:
            session = value["sessionId"]
        if not at and type(value.get("timestamp")) is str:
            at = value["timestamp"]
    if is_agent_file(file) is None:
        # A resumed session's file begins with lines of the one that it goes on with: its own name counts.
        session = file.name.split(".")[0]
    elif file.parent.name == "subagents":
        session = file.parent.parent.name
    return session or file.name.split(".")[0], at


def _kinds(unit: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield a sub-agent's id and its kind, where a file beside its log says so."""
    for file in unit:
        agent = is_agent_file(file)
        meta = file.with_name(f"agent-{agent}.meta.json")
        if agent is None or not meta.is_file() or meta.stat().st_size > META_BYTES_MAX:
            continue
        try:
            said = orjson.loads(meta.read_bytes())
        except orjson.JSONDecodeError:
            continue
        if type(said) is dict and type(said.get("agentType")) is str:
            yield agent, said["agentType"]


def _codex_ids(file: Path) -> tuple[str, str]:
    """Return a rollout's own id and its parent's, empty where it has none."""
    for value in head_lines(file):
        payload = value.get("payload")
        if value.get("type") != "session_meta" or type(payload) is not dict:
            continue
        source = payload.get("source")
        spawn = source.get("subagent") if type(source) is dict else None
        spawn = spawn.get("thread_spawn") if type(spawn) is dict else None
        parent = spawn.get("parent_thread_id") if type(spawn) is dict else None
        own = payload.get("id")
        return (own if type(own) is str else file.name), (parent if type(parent) is str else "")
    return file.name, ""
