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
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.chains import Chains, Nearest
from swarm.workload.formats.agent_logs.documents import time_s
from swarm.workload.formats.agent_logs.logged import LoggedAgent, LoggedRequest, OpenedBy, Tally
from swarm.workload.formats.fields import TOKENS_MAX
from swarm.workload.formats.files import OnBroken, read_lines, shown_name

HOUR_S = 3600.0
FIVE_MINUTES_S = 300.0
STALE_TOKENS_PER_CHARACTER = 0.33
"""Of visible output: a lower bound of what a reply had, where its log stops at the first count."""
COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
NOTICES = ("<task-", "<system-", "<local-command", "[Request interrupted by user")
"""Beginnings of texts that stand in a person's place, and that no person wrote."""
INTERRUPTED = "[Request interrupted by user"
COMMANDS = ("<command-name>", "<command-message>")
"""Beginnings of texts that a person's command stands in."""
PERSONS = ("human", "cli", "user")
"""Where a text is from, in versions that say it."""
QUEUED_S = 1.0
"""A text that comes this soon after it was taken from the queue had waited there, and no person then."""
BACKGROUND = "async_launched"
_AGENT_FILE = re.compile(r"agent-(.+)\.jsonl(\.gz|\.zst)?$")


@dataclass(slots=True)
class _Line:
    """What later lines need of one that is no reply."""

    parent: str | None
    at_s: float
    kind: str
    """user, or something else."""
    opened_by: OpenedBy | None
    is_command: bool = False


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


@dataclass(slots=True)
class _Log:
    """What one file has told so far."""

    lines: dict[str, _Line] = field(default_factory=dict)
    chains: Chains = field(default_factory=Chains)
    messages: dict[str, _Message] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    """When tools were done, by the id of their use."""

    def asked(self) -> Nearest:
        """Return which user's line comes before each; to be asked once all lines are there."""
        lines = self.lines
        return Nearest(
            lambda line: lines[line].parent if line in lines else None,
            lambda line: line in lines and lines[line].kind == "user",
        )


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
        self.statuses: dict[str, str] = {}
        """How sub-agents were started or ended, by their id, where their parent's log says it."""
        self._spawned: dict[str, str] = {}
        """Kinds of sub-agents by the prompt that they were given."""
        self._dequeued_s = -QUEUED_S
        self._last_s = 0.0
        self.compactions = 0
        """Marks of full contexts that were made a summary of."""

    def agents(self, file: Path) -> Iterator[LoggedAgent]:
        """Yield the agents of one file: the main one first, or the one sub-agent whose file it is."""
        log = _Log()
        self._last_s, self._dequeued_s = 0.0, -QUEUED_S
        for number, value in read_lines(file, self._on_broken, self._tally.take_cut):
            if type(value) is not dict:
                self._on_broken(TraceError(shown_name(file), f"line {number}", "must be an object"))
                continue
            try:
                self._take(value, number, log)
            except ValueError as fault:
                self._on_broken(TraceError(shown_name(file), f"line {number}", str(fault)))
        own = is_agent_file(file)
        by_agent: dict[str, list[_Message]] = {}
        for message in log.messages.values():
            by_agent.setdefault(own or message.root, []).append(message)
        asked = log.asked()
        for agent, found in by_agent.items():
            requests = self._requests(found, log, asked, is_compaction=agent.startswith("acompact"))
            if requests:
                status = self.statuses.get(agent, "completed")
                yield LoggedAgent(agent, self._kind_of(agent), requests, status)

    def _kind_of(self, agent: str) -> str:
        if not agent:
            return ""
        return self.kinds.get(agent) or ("inline" if agent.startswith("inline-") else "agent")

    def _take(self, value: dict[str, Any], number: int, log: _Log) -> None:
        """Note one line."""
        uuid = _text(value, "uuid")
        kind = _text(value, "type") or _kind_unsaid(value)
        at_s = self._time_of(value, kind)
        if kind == "assistant":
            self._take_reply(value, number, at_s, log)
        elif kind == "queue-operation" and _text(value, "operation") in ("dequeue", "remove"):
            self._dequeued_s = at_s
        elif kind in ("system", "progress"):
            self._take_notice(value, kind)
        if not uuid:
            return
        parent = _text(value, "parentUuid") or None
        line = _Line(parent, at_s, kind, None)
        if kind == "user":
            self._take_user(value, line, log)
        log.lines[uuid] = line
        log.chains.add(uuid, parent)

    def _time_of(self, value: dict[str, Any], kind: str) -> float:
        """Return a line's time, or that of the line before where it has none."""
        at_s = time_of(value)
        if at_s:
            self._last_s = at_s
        elif kind in ("user", "assistant"):
            self._tally.missing["times of lines, taken from the line before"] += 1
        return at_s or self._last_s

    def _take_notice(self, value: dict[str, Any], kind: str) -> None:
        """Note what the client says of itself: failed attempts, summaries, whose work a sub-agent does."""
        subtype, data = _text(value, "subtype"), value.get("data")
        if kind == "system" and subtype == "api_error":
            self._tally.missing["attempts that failed, and whose tokens nobody counts"] += 1
        elif kind == "system" and subtype == "compact_boundary":
            self.compactions += 1
        elif type(data) is dict and _text(data, "agentId"):
            spawned_by = self.kinds.get(_text(value, "parentToolUseID"), "")
            if spawned_by:
                self.kinds.setdefault(_text(data, "agentId"), spawned_by)

    def _take_user(self, value: dict[str, Any], line: _Line, log: _Log) -> None:
        """Note a line in a person's place: results of tools, words, or what is neither."""
        tools = list(_results(value))
        for tool in tools:
            log.results[tool] = line.at_s
        told = value.get("toolUseResult")
        if type(told) is dict and _text(told, "agentId"):
            self._take_spawned(told, tools[0] if tools else "")
        text = _words(value.get("message"))
        if not line.parent and value.get("isSidechain"):
            self.kinds.setdefault(f"inline-{_text(value, 'uuid')[:8]}", self._spawned.get(text, ""))
        if text.startswith(INTERRUPTED):
            self._tally.missing["requests that a person ended: counted as far as they had come"] += 1
        line.is_command = text.startswith(COMMANDS)
        before = log.lines.get(line.parent or "")
        if tools:
            line.opened_by = "tool"
        elif line.is_command or (value.get("isMeta") and before is not None and before.is_command):
            line.opened_by = "human"
        elif _is_notice(value, text) or 0 <= line.at_s - self._dequeued_s < QUEUED_S:
            line.opened_by = "notice"
        else:
            line.opened_by = "human"

    def _take_spawned(self, told: dict[str, Any], tool: str) -> None:
        agent, status = _text(told, "agentId"), _text(told, "status")
        if self.kinds.get(tool):
            self.kinds.setdefault(agent, self.kinds[tool])
        self.statuses[agent] = BACKGROUND if told.get("isAsync") else status or "completed"

    def _take_reply(self, value: dict[str, Any], number: int, at_s: float, log: _Log) -> None:
        reply = value.get("message")
        if type(reply) is not dict or type(reply.get("usage")) is not dict:
            self._tally.missing["replies without usage"] += 1
            return
        if reply.get("model") == "<synthetic>" or value.get("isApiErrorMessage"):
            self._tally.missing["replies that the client made up, or that were errors"] += 1
            return
        if not sum(_count(reply["usage"], count) for count in COUNTS):
            self._tally.missing["replies that count nothing"] += 1
            return
        name = _text(reply, "id") or _text(value, "requestId") or _text(value, "uuid") or f"line {number}"
        root = "" if not value.get("isSidechain") else self._root_of(value, log.chains)
        message = log.messages.get(f"{root}\0{name}")
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
            log.messages[f"{root}\0{name}"] = message
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
                    self._spawned.setdefault(_text(asked, "prompt"), asked["subagent_type"])

    def _root_of(self, value: dict[str, Any], chains: Chains) -> str:
        """Return the id of an inline sub-agent: that of the first line of its chain."""
        if type(value.get("agentId")) is str and value["agentId"]:
            return str(value["agentId"])
        return f"inline-{chains.first(_text(value, 'parentUuid'))[:8]}"

    def _requests(
        self,
        found: list[_Message],
        log: _Log,
        asked: Nearest,
        *,
        is_compaction: bool,
    ) -> list[LoggedRequest]:
        """Return an agent's requests by their starts."""
        found.sort(key=lambda message: message.first_s)
        requests: list[LoggedRequest] = []
        before: _Message | None = None
        for message in found:
            start_s, opened_by = _start(message, before, log, asked)
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


def _start(message: _Message, before: _Message | None, log: _Log, asked: Nearest) -> tuple[float, OpenedBy]:
    """Return when a request was sent, and what opened it."""
    opened_by: OpenedBy = "tool"
    start_s = message.first_s
    user = asked.of(message.parent)
    if user is not None:
        line = log.lines[user]
        start_s, opened_by = line.at_s, line.opened_by or "human"
    if before is not None:
        ends = [log.results[tool] for tool in before.tools if tool in log.results]
        start_s = max([start_s, *(end for end in ends if end <= message.first_s)])
    return min(start_s, message.first_s), opened_by


def _kind_unsaid(value: dict[str, Any]) -> str:
    """Return what a line without a type is: tools that rewrite logs keep what counts tokens."""
    message = value.get("message")
    return "assistant" if type(message) is dict and type(message.get("usage")) is dict else ""


def _is_notice(value: dict[str, Any], text: str) -> bool:
    """Say whether a text in a person's place is a hook's, a task's end, a summary or the client's."""
    origin = value.get("origin")
    if type(origin) is dict and _text(origin, "kind"):
        return _text(origin, "kind") not in PERSONS
    return bool(value.get("isMeta") or value.get("isCompactSummary")) or text.startswith(NOTICES)


def _words(message: Any) -> str:
    """Return the first text of a message."""
    content = message.get("content") if type(message) is dict else None
    return content if type(content) is str else next((_text(b, "text") for b in _blocks(message)), "")


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
    return time_s(value.get("timestamp"), "timestamp") or 0.0
