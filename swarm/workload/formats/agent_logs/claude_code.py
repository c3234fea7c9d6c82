"""Claude Code's own logs: a file a session, sub-agents inline or in files of their own.

One request is all `assistant` lines of one `message.id`: a line is one block of its content, written when the
block was complete, and other lines come between. The last line has the final usage. A prompt is what was read
from the cache, what was written to it, and the rest. A request starts when the last line before it was there:
the user's, or the last tool's result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.logged import LoggedAgent, LoggedRequest, OpenedBy, Tally
from swarm.workload.formats.fields import TOKENS_MAX
from swarm.workload.formats.files import OnBroken, read_lines, shown_name

HOUR_S = 3600.0
FIVE_MINUTES_S = 300.0
WALK_MAX = 10_000
"""Lines between a request and the user's line before it."""
STALE_TOKENS_PER_CHARACTER = 0.33
"""Of visible output: a lower bound of what a reply had, where its log stops at the first count."""
COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
NOTICES = ("<task-notification>", "[Request interrupted by user", "<local-command", "<command-name>")
_AGENT_FILE = re.compile(r"agent-(.+)\.jsonl(\.gz|\.zst)?$")


@dataclass(slots=True)
class _Line:
    """What later lines need of one that is no reply."""

    parent: str | None
    at_s: float
    kind: str
    """user, or something else."""
    opened_by: OpenedBy | None


@dataclass(slots=True)
class _Message:
    """The lines of one reply."""

    parent: str | None
    first_s: float
    last_s: float
    model: str
    usage: dict[str, Any]
    stop: str | None
    types: dict[str, None] = field(default_factory=dict)
    tools: list[str] = field(default_factory=list)
    characters: int = 0
    root: str = ""


def is_agent_file(file: Path) -> str | None:
    """Return the id of the sub-agent whose file this is, or None."""
    found = _AGENT_FILE.search(file.name)
    return found.group(1) if found else None


class SessionReader:
    """Reads the files of one session; replies that an earlier session has are left out."""

    def __init__(self, seen: set[tuple[str, str]], tally: Tally, on_broken: OnBroken) -> None:
        self._seen = seen
        self._tally = tally
        self._on_broken = on_broken
        self.kinds: dict[str, str] = {}
        """Kinds of sub-agents, by the id of the tool use that spawned them and by their own id."""

    def agents(self, file: Path) -> Iterator[LoggedAgent]:
        """Yield the agents of one file: the main one first, or the one sub-agent whose file it is."""
        lines: dict[str, _Line] = {}
        messages: dict[str, _Message] = {}
        results: dict[str, float] = {}
        for number, value in read_lines(file, self._on_broken, self._tally.take_cut):
            if type(value) is not dict:
                self._on_broken(TraceError(shown_name(file), f"line {number}", "must be an object"))
                continue
            try:
                self._take(value, lines, messages, results)
            except _Wrong as fault:
                self._on_broken(TraceError(shown_name(file), f"line {number}", str(fault)))
        own = is_agent_file(file)
        by_agent: dict[str, list[_Message]] = {}
        for message in messages.values():
            by_agent.setdefault(own or message.root, []).append(message)
        for agent, found in by_agent.items():
            requests = self._requests(found, lines, results, is_compaction=agent.startswith("acompact"))
            if requests:
                yield LoggedAgent(agent, self._kind_of(agent), requests)

    def _kind_of(self, agent: str) -> str:
        if not agent:
            return ""
        return self.kinds.get(agent) or ("inline" if agent.startswith("inline-") else "agent")

    def _take(
        self,
        value: dict[str, Any],
        lines: dict[str, _Line],
        messages: dict[str, _Message],
        results: dict[str, float],
    ) -> None:
        """Note one line."""
        uuid = _text(value, "uuid")
        kind = _text(value, "type")
        at_s = time_of(value)
        if kind == "assistant":
            self._take_reply(value, at_s, messages, lines)
        if not uuid:
            return
        parent = _text(value, "parentUuid") or None
        opened_by = _opened_by(value, results, at_s) if kind == "user" else None
        lines[uuid] = _Line(parent, at_s, kind, opened_by)
        told = value.get("toolUseResult")
        if type(told) is dict and type(told.get("agentId")) is str:
            tool = next(iter(_results(value)), "")
            self.kinds.setdefault(told["agentId"], self.kinds.get(tool, ""))

    def _take_reply(
        self, value: dict[str, Any], at_s: float, messages: dict[str, _Message], lines: dict[str, _Line]
    ) -> None:
        reply = value.get("message")
        if type(reply) is not dict or type(reply.get("usage")) is not dict:
            self._tally.missing["replies without usage"] += 1
            return
        if reply.get("model") == "<synthetic>" or value.get("isApiErrorMessage"):
            self._tally.missing["replies that the client made up, or that were errors"] += 1
            return
        for count in COUNTS:
            _count(reply["usage"], count)
        name = _text(reply, "id") or _text(value, "requestId") or _text(value, "uuid")
        root = "" if not value.get("isSidechain") else self._root_of(value, lines)
        message = messages.get(f"{root}\0{name}")
        if message is None:
            identity = (_text(reply, "id"), _text(value, "requestId"))
            if identity[0]:
                if identity in self._seen:
                    self._tally.read["replies that another session had already"] += 1
                    return
                self._seen.add(identity)
            message = _Message(
                _text(value, "parentUuid") or None, at_s, at_s, _text(reply, "model"), {}, None, root=root
            )
            messages[f"{root}\0{name}"] = message
        message.first_s = min(message.first_s, at_s)
        message.last_s = max(message.last_s, at_s)
        message.usage = reply["usage"]
        message.stop = reply.get("stop_reason") if type(reply.get("stop_reason")) is str else message.stop
        for block in _blocks(reply):
            message.types[_text(block, "type")] = None
            message.characters += len(_text(block, "text")) + len(_text(block, "thinking"))
            if block.get("type") == "tool_use":
                message.tools.append(_text(block, "id"))
                asked = block.get("input")
                message.characters += len(str(asked)) if asked else 0
                if type(asked) is dict and type(asked.get("subagent_type")) is str:
                    self.kinds[_text(block, "id")] = asked["subagent_type"]

    def _root_of(self, value: dict[str, Any], lines: dict[str, _Line]) -> str:
        """Return the id of an inline sub-agent: that of the first line of its chain."""
        if type(value.get("agentId")) is str and value["agentId"]:
            return str(value["agentId"])
        at, steps = _text(value, "parentUuid"), 0
        while at in lines and lines[at].parent and steps < WALK_MAX:
            at, steps = lines[at].parent or "", steps + 1
        return f"inline-{at[:8]}"

    def _requests(
        self,
        found: list[_Message],
        lines: dict[str, _Line],
        results: dict[str, float],
        *,
        is_compaction: bool,
    ) -> list[LoggedRequest]:
        """Return an agent's requests by their starts."""
        found.sort(key=lambda message: message.first_s)
        requests: list[LoggedRequest] = []
        before: _Message | None = None
        for message in found:
            start_s, opened_by = _start(message, before, lines, results)
            requests.append(
                self._request(message, start_s, opened_by if requests else "start", is_compaction)
            )
            before = message
        self._repair(requests, found)
        requests.sort(key=lambda request: request.start_s)
        return requests

    def _request(
        self, message: _Message, start_s: float, opened_by: OpenedBy, is_compaction: bool
    ) -> LoggedRequest:
        usage = message.usage
        written = _count(usage, "cache_creation_input_tokens")
        split = usage.get("cache_creation")
        hour = _count(split, "ephemeral_1h_input_tokens") if type(split) is dict else 0
        self._tally.read["requests"] += 1
        return LoggedRequest(
            start_s=start_s,
            end_s=max(start_s, message.last_s),
            first_s=None,
            model=message.model,
            plain_tokens=_count(usage, "input_tokens"),
            read_tokens=_count(usage, "cache_read_input_tokens"),
            written_tokens=written,
            ttl_s=HOUR_S if hour and 2 * hour >= written else FIVE_MINUTES_S,
            output_tokens=_count(usage, "output_tokens"),
            opened_by=opened_by,
            output_types=tuple(sorted(filter(None, message.types))),
            stop=message.stop,
            is_compaction=is_compaction,
            held_tokens=_count(usage, "cache_read_input_tokens") + written,
        )

    def _repair(self, requests: list[LoggedRequest], found: list[_Message]) -> None:
        """Raise counts of output that stop at a reply's first token to what its visible text has at least."""
        for request, message in zip(requests, found, strict=True):
            least = int(STALE_TOKENS_PER_CHARACTER * message.characters)
            if message.stop is None and message.characters > 10 * max(1, request.output_tokens):
                request.output_tokens = max(request.output_tokens, least)
                self._tally.inferred["output counts that had stopped early, raised to 0.33 a character"] += 1


class _Wrong(ValueError):
    """A field that cannot be what it is."""


def _start(
    message: _Message, before: _Message | None, lines: dict[str, _Line], results: dict[str, float]
) -> tuple[float, OpenedBy]:
    """Return when a request was sent, and what opened it."""
    at, steps = message.parent, 0
    opened_by: OpenedBy = "tool"
    start_s = message.first_s
    while at is not None and at in lines and steps < WALK_MAX:
        line = lines[at]
        if line.kind == "user":
            start_s, opened_by = line.at_s, line.opened_by or "human"
            break
        at, steps = line.parent, steps + 1
    if before is not None:
        ends = [results[tool] for tool in before.tools if tool in results]
        start_s = max([start_s, *(end for end in ends if end <= message.first_s)])
    return min(start_s, message.first_s), opened_by


def _opened_by(value: dict[str, Any], results: dict[str, float], at_s: float) -> OpenedBy:
    """Return what a user's line is; note the results of tools that it holds."""
    tools = list(_results(value))
    for tool in tools:
        results[tool] = at_s
    if tools:
        return "tool"
    message = value.get("message")
    content = message.get("content") if type(message) is dict else None
    text = content if type(content) is str else next((_text(b, "text") for b in _blocks(message)), "")
    if value.get("isMeta") or value.get("isCompactSummary") or text.startswith(NOTICES):
        return "notice"
    return "human"


def _results(value: dict[str, Any]) -> Iterator[str]:
    for block in _blocks(value.get("message")):
        if block.get("type") == "tool_result":
            yield _text(block, "tool_use_id")


def _blocks(message: Any) -> Iterator[dict[str, Any]]:
    content = message.get("content") if type(message) is dict else None
    if type(content) is list:
        yield from (block for block in content if type(block) is dict)


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if type(found) is str else ""


def _count(value: dict[str, Any], name: str) -> int:
    found = value.get(name, 0)
    if found is None:
        return 0
    if type(found) is not int or not 0 <= found <= TOKENS_MAX:
        raise _Wrong(f"{name}: must be an integer from 0 to {TOKENS_MAX}, got {str(found)[:40]}")
    return found


def time_of(value: dict[str, Any]) -> float:
    """Return a line's time in Unix seconds; 0 where it has none."""
    found = value.get("timestamp")
    if type(found) is not str:
        return 0.0
    try:
        return datetime.fromisoformat(found).timestamp()
    except ValueError:
        raise _Wrong(f"timestamp: must be a time of ISO 8601, got {found[:40]!r}") from None
