"""Conversations that branch, as JSON lines (aiperf's `dag_jsonl`): read, not written.

A line is `session_id` and `turns` of `messages`, `max_tokens`, `delay` (ms). `forks` go on from a copy of the
turn's context, `spawns` start with an empty one and are joined at the next turn or at `join_at`. A file holds
no durations: a reply takes no time, so that a turn starts its delay after the one before and after its joins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.content import Content, name_of
from swarm.workload.formats.fields import Fields, shown
from swarm.workload.formats.files import OnBroken, read_lines
from swarm.workload.formats.options import Options
from swarm.workload.formats.text import append_messages, append_tools, delay_s, request_of, unknown
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = Options(block_tokens=16, rows="", bytes_per_token=4.0)
AGENTS_MAX = 10_000
"""Agents of one session; a child named by several parents is played for each, which may multiply."""
DEPTH_MAX = 64
ROUNDS_MAX = 10_000
_MODES = ("deltas_without_responses", "deltas_with_responses", "message_array_with_responses")


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield one session for each conversation that no other starts."""
    lines: dict[str, Fields] = {}
    children: set[str] = set()
    for number, value in read_lines(file, on_broken):
        try:
            fields = Fields(str(file), f"line {number}", value)
            name = fields.text("session_id")
            if not name or name in lines:
                raise fields.broken("session_id", f"{name!r} must be a name that stands once in the file")
            named = set(_children(fields))
        except TraceError as error:
            on_broken(error)
            continue
        lines[name] = fields
        children |= named
    roots = [name for name in lines if name not in children]
    if lines and not roots:
        on_broken(TraceError(str(file), "file", "each conversation is started by another: a cycle"))
    for name in roots:
        try:
            session = _session(name, lines, options)
        except TraceError as error:
            on_broken(error)
            continue
        yield session


def _children(fields: Fields) -> Iterator[str]:
    """Yield every conversation that a line starts."""
    yield from fields.texts("pre_session_spawns")
    yield from fields.texts("spawns")
    rounds = fields.values.get("rounds")
    for index, value in enumerate(rounds if type(rounds) is list else ()):
        yield from Fields(fields.source, f"{fields.place}: rounds[{index}]", value).texts("spawns")
    for turn in _turns(fields):
        yield from (child for child, _ in _forks(turn))
        yield from (child for group, _ in _spawns(turn, 0) for child in group)


def _turns(fields: Fields) -> list[Fields]:
    values = [] if fields.values.get("turns") is None else fields.objects("turns")
    return [
        Fields(fields.source, f"{fields.place}: turns[{index}]", value) for index, value in enumerate(values)
    ]


def _forks(turn: Fields) -> Iterator[tuple[str, bool]]:
    """Yield (child, whether the parent goes on)."""
    for entry in [] if turn.values.get("forks") is None else turn.objects("forks"):
        if type(entry) is str:
            yield entry, False
        else:
            fields = Fields(turn.source, f"{turn.place}: forks", entry)
            yield fields.text("child"), fields.values.get("background") is True


def _spawns(turn: Fields, index: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield (children, index of the turn that waits for them)."""
    for entry in [] if turn.values.get("spawns") is None else turn.objects("spawns"):
        if type(entry) is str:
            yield (entry,), index + 1
        else:
            fields = Fields(turn.source, f"{turn.place}: spawns", entry)
            yield fields.texts("children"), fields.count("join_at", index + 1)


@dataclass(slots=True)
class _Walk:
    """One session on its way from conversations to agents."""

    lines: dict[str, Fields]
    options: Options
    path: list[str] = field(default_factory=list)
    subagents: list[RecordedSubagent] = field(default_factory=list)

    def play(self, name: str, start_s: float, content: Content) -> tuple[list[RecordedRequest], float]:
        """Return a conversation's requests and its end; agents that it starts join the list."""
        fields = self.lines[name]
        if name in self.path:
            raise fields.broken("session_id", f"{name!r} starts itself: {' -> '.join([*self.path, name])}")
        if len(self.path) >= DEPTH_MAX:
            raise fields.broken("session_id", f"conversations nest deeper than {DEPTH_MAX}")
        self.path.append(name)
        for child in fields.texts("pre_session_spawns"):
            self._start(fields, child, start_s, self._fresh())
        if fields.values.get("orchestrator") is True:
            played: tuple[list[RecordedRequest], float] = ([], self._rounds(fields, start_s))
        else:
            played = self._talk(fields, name, start_s, content)
        self.path.pop()
        return played

    def _fresh(self) -> Content:
        return Content(self.options.block_tokens)

    def _start(self, fields: Fields, child: str, at_s: float, content: Content) -> float:
        if child not in self.lines:
            raise unknown(fields, "forks or spawns", child)
        if len(self.subagents) >= AGENTS_MAX:
            raise fields.broken("", f"a session of more than {AGENTS_MAX} agents")
        place = len(self.subagents)
        agent = RecordedSubagent(at_s, child, "dag", None, 0, 0, ())
        self.subagents.append(agent)
        requests, end_s = self.play(child, at_s, content)
        self.subagents[place] = RecordedSubagent(at_s, child, "dag", end_s - at_s, 0, 0, tuple(requests))
        return end_s

    def _rounds(self, fields: Fields, at_s: float) -> float:
        """Return the end of a conversation that asks nothing itself, but starts others in rounds."""
        rounds = fields.values.get("rounds")
        think_s = delay_s(fields, "think_time_ms") or 0.0
        plans = [(fields.texts("spawns"), think_s)]
        if type(rounds) is list:
            inside = [Fields(fields.source, f"{fields.place}: rounds", value) for value in rounds]
            plans = [
                (each.texts("spawns"), think_s if own is None else own)
                for each, own in ((each, delay_s(each, "think_time_ms")) for each in inside)
            ]
        elif rounds is not None:
            count = fields.count("rounds")
            if count > ROUNDS_MAX:
                raise fields.broken("rounds", f"must be at most {ROUNDS_MAX}, got {count}")
            plans *= count
        for children, wait_s in plans:
            at_s += wait_s
            ends = [self._start(fields, child, at_s, self._fresh()) for child in children]
            at_s = max([at_s, *ends])
        return at_s

    def _talk(
        self, fields: Fields, name: str, start_s: float, content: Content
    ) -> tuple[list[RecordedRequest], float]:
        turns = _turns(fields)
        if not turns:
            raise fields.broken("turns", "is empty")
        mode = fields.text("context_mode", _MODES[0])
        if mode not in _MODES:
            raise fields.broken("context_mode", f"must be one of {', '.join(_MODES)}, got {shown(mode)}")
        own = name_of("/".join(self.path).encode())
        requests: list[RecordedRequest] = []
        joins: dict[int, float] = {}
        at_s = start_s
        for index, turn in enumerate(turns):
            wait_s = delay_s(turn) or 0.0
            at_s = max(at_s, joins.get(index, at_s)) + wait_s
            if mode == _MODES[2]:
                content = self._fresh()
            if index == 0 or mode == _MODES[2]:
                append_tools(content, turn, self.options)
            append_messages(content, turn, self.options)
            output_tokens = turn.length("max_tokens", 0)
            requests.append(
                request_of(
                    content,
                    t_s=at_s - start_s,
                    think_s=wait_s,
                    output_tokens=output_tokens,
                    model=turn.text("model", ""),
                )
            )
            if mode == _MODES[0]:
                content.mark("assistant")
                content.append(own, output_tokens)
            self._branch(turn, index, at_s, content, joins)
        return requests, max([at_s, *joins.values()])

    def _branch(
        self, turn: Fields, index: int, at_s: float, content: Content, joins: dict[int, float]
    ) -> None:
        for child, _ in _forks(turn):
            self._start(turn, child, at_s, content.copy())
        for children, join_at in _spawns(turn, index):
            if join_at <= index:
                raise turn.broken("spawns", f"join_at must be a later turn than {index}, got {join_at}")
            for child in children:
                end_s = self._start(turn, child, at_s, self._fresh())
                joins[join_at] = max(end_s, joins.get(join_at, end_s))


def _session(name: str, lines: dict[str, Fields], options: Options) -> RecordedSession:
    walk = _Walk(lines, options)
    requests, _ = walk.play(name, 0.0, Content(options.block_tokens))
    entries: list[Any] = [*requests, *walk.subagents]
    source = lines[name].source
    return RecordedSession(
        id=name,
        source=source,
        namespace=f"global/{options.block_tokens}/{source}",
        block_tokens=options.block_tokens,
        tool_tokens=0,
        system_tokens=0,
        models=(),
        entries=tuple(entries),
    )
