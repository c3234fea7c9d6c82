"""Conversations that branch, as JSON lines (aiperf's `dag_jsonl`).

A line is `session_id` and `turns` of `messages`, `max_tokens`, `delay` (ms). `forks` go on from a copy of the
turn's context, `spawns` start with an empty one and are joined at the next turn or at `join_at`. A file holds
no durations: a reply takes no time, so that a turn starts its delay after the one before and after its joins.
Where a context lost something, the last turn before spawns the conversation that goes on (`a`, `a~1`, `a~2`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from swarm.errors import TraceError
from swarm.workload.formats.conversations.content import Content, name_of
from swarm.workload.formats.conversations.stretches import (
    SAME_S,
    Known,
    Said,
    Spaces,
    Text,
    note_settings,
    stretches,
)
from swarm.workload.formats.conversations.text import (
    READS,
    Held,
    append_messages,
    append_tools,
    delay_s,
    request_of,
    session_of,
    unknown,
)
from swarm.workload.formats.fields import Fields, shown
from swarm.workload.formats.files import OnBroken, read_lines, shown_name
from swarm.workload.formats.held import SUBAGENT
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses, Names, written
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = READS
HOLDS = frozenset({"session.has_words", "subagent.agent_id", "subagent.kind", "subagent.duration_s"})
AGENTS_MAX = 10_000
"""Agents of one session; a child named by several parents is played for each, which may multiply."""
DEPTH_MAX = 64
ROUNDS_MAX = 10_000
_MODES = ("deltas_without_responses", "deltas_with_responses", "message_array_with_responses")


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield one session for each conversation that no other starts."""
    source = shown_name(file)
    lines: dict[str, Fields] = {}
    children: set[str] = set()
    for number, value in read_lines(file, on_broken):
        try:
            fields = Fields(source, f"line {number}", value)
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
        on_broken(TraceError(source, "file", "each conversation is started by another: a cycle"))
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
    held: Held = field(default_factory=Held)
    leaves: dict[tuple[str, ...], tuple[tuple[RecordedRequest, ...], float]] = field(default_factory=dict)
    """By path, what a conversation that starts no other came to, and how long it took: each start of it from
    an empty context is the same again."""

    def play(self, name: str, start_s: float, content: Content) -> tuple[list[RecordedRequest], float]:
        """Return a conversation's requests and its end; agents that it starts join the list."""
        fields = self.lines[name]
        if name in self.path:
            raise fields.broken("session_id", f"{name!r} starts itself: {' -> '.join([*self.path, name])}")
        if len(self.path) >= DEPTH_MAX:
            raise fields.broken("session_id", f"conversations nest deeper than {DEPTH_MAX}")
        self.path.append(name)
        for child in fields.texts("pre_session_spawns"):
            self._start(fields, child, start_s, None)
        if fields.values.get("orchestrator") is True:
            played: tuple[list[RecordedRequest], float] = ([], self._rounds(fields, start_s))
        else:
            played = self._talk(fields, name, start_s, content)
        self.path.pop()
        return played

    def _fresh(self) -> Content:
        return Content(self.options.block_tokens)

    def _start(self, fields: Fields, child: str, at_s: float, content: Content | None) -> float:
        """Play a child from a context, or (None) an empty one; return when it ends."""
        if child not in self.lines:
            raise unknown(fields, "forks or spawns", child)
        if len(self.subagents) >= AGENTS_MAX:
            raise fields.broken("", f"a session of more than {AGENTS_MAX} agents")
        place = len(self.subagents)
        agent = RecordedSubagent(at_s, child, "dag", None, 0, 0, ())
        self.subagents.append(agent)
        path = (*self.path, child)
        known = self.leaves.get(path) if content is None else None
        if known is None:
            played, end_s = self.play(child, at_s, self._fresh() if content is None else content)
            known = tuple(played), end_s - at_s
            if content is None and len(self.subagents) == place + 1:
                self.leaves[path] = known
        else:
            self.held.add(fields, sum(len(request.hash_ids) for request in known[0]))
        requests, took_s = known
        self.subagents[place] = RecordedSubagent(at_s, child, "dag", took_s, 0, 0, requests)
        return fields.in_time("delay", at_s + took_s)

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
            at_s = fields.in_time("think_time_ms", at_s + wait_s)
            ends = [self._start(fields, child, at_s, None) for child in children]
            at_s = max([at_s, *ends])
        return at_s

    def _talk(
        self, fields: Fields, name: str, start_s: float, content: Content
    ) -> tuple[list[RecordedRequest], float]:
        """Return the requests of an agent, over all stretches of its life, and its end."""
        requests: list[RecordedRequest] = []
        at_s = end_s = start_s
        while True:
            following = _following(name)
            goes_on, at_s, joined_s = self._stretch(fields, name, following, start_s, at_s, content, requests)
            end_s = max(end_s, joined_s)
            if not goes_on:
                return requests, max(at_s, end_s)
            if following not in self.lines:
                raise unknown(fields, "spawns", following)
            fields, name, content = self.lines[following], following, self._fresh()

    def _stretch(
        self,
        fields: Fields,
        name: str,
        following: str,
        start_s: float,
        at_s: float,
        content: Content,
        requests: list[RecordedRequest],
    ) -> tuple[bool, float, float]:
        """Append one conversation's requests; return whether `following` goes on with it, and its ends."""
        turns = _turns(fields)
        if not turns:
            raise fields.broken("turns", "is empty")
        mode = fields.text("context_mode", _MODES[0])
        if mode not in _MODES:
            raise fields.broken("context_mode", f"must be one of {', '.join(_MODES)}, got {shown(mode)}")
        own = name_of("/".join((*self.path[:-1], name)).encode())
        joins: dict[int, float] = {}
        goes_on = False
        for index, turn in enumerate(turns):
            wait_s = delay_s(turn) or 0.0
            at_s = turn.in_time("delay", max(at_s, joins.get(index, at_s)) + wait_s)
            if mode == _MODES[2]:
                content = self._fresh()
            if index == 0 or mode == _MODES[2]:
                append_tools(content, turn, self.options)
            append_messages(content, turn, self.options)
            output_tokens = turn.length("max_tokens", 0)
            self.held.take(turn, content)
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
            spawns = list(_spawns(turn, index))
            if index == len(turns) - 1 and ((following,), index + 1) in spawns:
                spawns.remove(((following,), index + 1))
                goes_on = True
            self._branch(turn, index, at_s, content, spawns, joins)
        return goes_on, at_s, max(joins.values(), default=at_s)

    def _branch(
        self,
        turn: Fields,
        index: int,
        at_s: float,
        content: Content,
        spawns: list[tuple[tuple[str, ...], int]],
        joins: dict[int, float],
    ) -> None:
        for child, _ in _forks(turn):
            self.held.take(turn, content)
            self._start(turn, child, at_s, content.copy())
        for children, join_at in spawns:
            if join_at <= index:
                raise turn.broken("spawns", f"join_at must be a later turn than {index}, got {join_at}")
            for child in children:
                end_s = self._start(turn, child, at_s, None)
                joins[join_at] = max(end_s, joins.get(join_at, end_s))


def _following(name: str) -> str:
    """Return the name of the conversation that goes on with an agent whose context has lost something.

    Where the last turn of `a` spawns `a~1`, and that of `a~1` spawns `a~2`, it is one agent: `write` does so.
    """
    base, _, part = name.rpartition("~")
    return f"{base}~{int(part) + 1}" if base and part.isdecimal() and len(part) < 10 else f"{name}~1"


def _session(name: str, lines: dict[str, Fields], options: Options) -> RecordedSession:
    walk = _Walk(lines, options)
    requests, _ = walk.play(name, 0.0, Content(options.block_tokens))
    return session_of(lines[name].source, name, [*requests, *walk.subagents], options, has_words=True)


_TIMES = replace(READS, block_tokens=1 << 20)
"""Blocks that are hardly any: where times alone are asked for."""
_MADE = re.compile(r"[~/]\d+$")


def write(sessions: Iterable[RecordedSession], dest: Path, options: Options, losses: Losses) -> int:
    """Write a line for each stretch of an agent's life; sub-agents are spawned and joined as recorded."""
    count = 0
    names = Names()
    spaces = Spaces()
    with written(dest) as file:
        for session in sessions:
            # `a~1` and `a/1` are names that this makes of `a`.
            name = names.name(f"{session.id}#1" if _MADE.search(session.id) else session.id)
            lines = _lines(session, name, spaces.known(session), options, losses)
            for line in lines:
                file.write(orjson.dumps(line, default=Text.written) + b"\n")
            note_settings(session, options, losses)
            losses.note("name of a session: numbered to be nobody else's", name != session.id)
            losses.note("session without requests: left out", not lines)
            if lines:
                _note_times(session, name, lines, losses)
            count += 1
    return count


def _note_times(session: RecordedSession, name: str, lines: list[dict[str, Any]], losses: Losses) -> None:
    """Name what of the times and sub-agents is another when the lines are read: replies take no time."""
    walk = _Walk({line["session_id"]: _hollow(session.source, line) for line in lines}, _TIMES)
    main, _ = walk.play(name, 0.0, Content(_TIMES.block_tokens))
    own = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    _compare(own, 0.0, main, 0.0, losses)
    subagents = {read.agent_id: read for read in walk.subagents}
    for number, entry in enumerate(session.subagents(), 1):
        read = subagents.get(f"{name}/{number}")
        if read is None:
            continue
        losses.note(SUBAGENT["agent_id"].name, entry.agent_id not in ("", read.agent_id))
        losses.note(SUBAGENT["kind"].name, entry.kind not in ("", read.kind))
        losses.note("start of a sub-agent: that of the turn before it", _differ(entry.t_s, read.t_s))
        losses.note(SUBAGENT["duration_s"].name, _differ(entry.duration_s, read.duration_s))
        _compare(entry.requests, entry.t_s, read.requests, read.t_s, losses)


def _hollow(source: str, line: dict[str, Any]) -> Fields:
    """Return a line without its words."""
    turns = [turn | {"messages": []} for turn in line.get("turns", ())]
    return Fields(source, f"session_id={line['session_id']}", line | {"turns": turns})


def _compare(
    requests: Sequence[RecordedRequest],
    start_s: float,
    read: Sequence[RecordedRequest],
    read_start_s: float,
    losses: Losses,
) -> None:
    sent = sorted((each for each in requests if each.input_tokens), key=lambda request: request.t_s)
    for ours, theirs in zip(sent, read, strict=True):
        late = _differ(start_s + ours.t_s, read_start_s + theirs.t_s)
        losses.note("time of a request: replies take none", late)
        losses.note(
            "think time that is not the wait for what came before", _differ(ours.think_s, theirs.think_s)
        )


def _differ(recorded_s: float | None, read_s: float | None) -> bool:
    return recorded_s is not None and (read_s is None or abs(recorded_s - read_s) > SAME_S)


def _lines(
    session: RecordedSession, name: str, known: Known, options: Options, losses: Losses
) -> list[dict[str, Any]]:
    main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    parents = list(stretches(session, name, main, known, options, losses))
    lines = _chain(name, parents)
    early: list[str] = []
    for number, entry in enumerate(session.subagents(), 1):
        child = f"{name}/{number}"
        own = _chain(child, list(stretches(session, child, entry.requests, known, options, losses)))
        if not own:
            losses.note("sub-agent without requests: left out")
            continue
        first_s = entry.t_s + min(request.t_s for request in entry.requests)
        since_s = 0.0
        starts = [part[0].request.t_s for part in parents]
        place = bisect_right(starts, entry.t_s) - 1
        if place < 0:
            early.append(child)
        else:
            since_s = _spawn(lines[place]["turns"], parents[place], child, entry, losses)
        own[0]["turns"][0]["delay"] = round(max(0.0, first_s - since_s) * 1000, 3)
        lines += own
    if early and not parents:
        lines.insert(0, {"session_id": name, "orchestrator": True, "spawns": early})
    elif early:
        lines[0]["pre_session_spawns"] = early
    if parents:
        lines[0]["turns"][0]["delay"] = round(parents[0][0].request.t_s * 1000, 3)
    return lines


def _chain(name: str, parts: list[list[Said]]) -> list[dict[str, Any]]:
    """Return a line for each stretch of an agent; the end of one starts the next."""
    lines: list[dict[str, Any]] = []
    for said in parts:
        own = _following(lines[-1]["session_id"]) if lines else name
        if lines:
            lines[-1]["turns"][-1]["spawns"] = [own]
        lines.append({"session_id": own, "turns": [_turn(each) for each in said]})
    return lines


def _turn(said: Said) -> dict[str, Any]:
    turn: dict[str, Any] = {"messages": [{"role": "user", "content": said.text}], "delay": said.delay_ms}
    if said.request.output_tokens:
        turn["max_tokens"] = said.request.output_tokens
    return turn


def _spawn(
    turns: list[dict[str, Any]], said: list[Said], child: str, entry: RecordedSubagent, losses: Losses
) -> float:
    """Let the turn before a sub-agent's start spawn it; return when that turn ended.

    The first turn that was sent after the sub-agent's end waits for it. Where the stretch has none, its last
    turn starts it and nobody waits: the format has no sub-agent that runs on beside its parent.
    """
    starts = [each.request.t_s for each in said]
    index = bisect_right(starts, entry.t_s) - 1
    join_at = max(bisect_left(starts, entry.end_s), index + 1)
    if join_at >= len(said):
        if index < len(said) - 1:
            losses.note("sub-agent that outlives its parent's context: started by its last turn", 1)
        index = len(said) - 1
        spawn: str | dict[str, Any] = child
    else:
        spawn = {"children": [child], "join_at": join_at}
        # The turn's delay starts when the last of those that it waits for has sent its last request.
        last_s = entry.t_s + max(each.t_s + (each.api_s or 0.0) for each in entry.requests)
        own_s = max(0.0, said[join_at].request.t_s - last_s)
        turns[join_at]["delay"] = min(turns[join_at]["delay"], round(own_s * 1000, 3))
    turns[index].setdefault("spawns", []).append(spawn)
    return said[index].request.t_s + (said[index].request.api_s or 0.0)
