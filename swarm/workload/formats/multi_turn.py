"""Conversations as JSON lines with the new text of each turn (aiperf's `multi_turn`).

A line is `session_id` and `turns`: `text` or `texts`, `delay` or `timestamp` (ms), `output_length`, `role`.
A turn sends all turns before it and their replies, which the file does not hold: a reply counts as its
`output_length`. Lines of one `session_id` go on with the same conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from swarm.errors import TraceError
from swarm.workload.formats.content import Content, name_of
from swarm.workload.formats.fields import Fields
from swarm.workload.formats.files import OnBroken, last_lines, read_lines
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses, Names, written
from swarm.workload.formats.stretches import Said, stretches
from swarm.workload.formats.text import delay_s, request_of, session_of, turn_text
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = Options(block_tokens=16, rows="", bytes_per_token=4.0)
_TIMING = ("timestamp", "delay", "output_length", "extra")


class _Conversation:
    def __init__(self, name: str, block_tokens: int) -> None:
        self.own = name_of(name.encode())
        self.content = Content(block_tokens)
        self.requests: list[RecordedRequest] = []

    def take(self, fields: Fields, options: Options) -> None:
        """Add a turn to the context and send it."""
        at_s, wait_s = delay_s(fields, "timestamp"), delay_s(fields)
        text, output_tokens = turn_text(fields), fields.length("output_length", 0)
        if at_s is None:
            at_s = (self.requests[-1].t_s if self.requests else 0.0) + (wait_s or 0.0)
        self.content.mark(fields.text("role", "user"))
        self.content.append_text(text, options.bytes_per_token)
        self.requests.append(request_of(self.content, t_s=at_s, think_s=wait_s, output_tokens=output_tokens))
        self.content.mark("assistant")
        self.content.append(self.own, output_tokens)


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield the conversations of a file, in order of their first line; they share equal texts."""
    last = last_lines(file)
    found: dict[str, _Conversation] = {}
    for number, value in read_lines(file, on_broken):
        try:
            _line(Fields(str(file), f"line {number}", value), options, f"{file.name}:{number}", found)
        except TraceError as error:
            on_broken(error)
        while found and last.get(first := next(iter(found)), 0) <= number:
            yield session_of(str(file), first, found.pop(first).requests, options)
    for name, conversation in found.items():
        yield session_of(str(file), name, conversation.requests, options)


def _line(fields: Fields, options: Options, place: str, found: dict[str, _Conversation]) -> None:
    """Take a line whole, or raise and leave its conversation as it is."""
    name = fields.text("session_id", "") or place
    turns = fields.objects("turns")
    if not turns:
        raise fields.broken("turns", "is empty")
    conversation = _Conversation(name, options.block_tokens)
    before = found.get(name)
    if before is not None:
        conversation.content, conversation.requests = before.content.copy(), list(before.requests)
    for index, value in enumerate(turns):
        turn = Fields(fields.source, f"{fields.place}: turns[{index}]", value)
        if _is_system(turn, index, conversation) and len(turns) > 1:
            conversation.content.mark("system")
            conversation.content.append_text(turn_text(turn), options.bytes_per_token)
        else:
            conversation.take(turn, options)
    found[name] = conversation


def _is_system(turn: Fields, index: int, conversation: _Conversation) -> bool:
    """Say whether a turn is a system prompt that all later turns carry, and no request of its own."""
    timed = any(turn.values.get(name) is not None for name in _TIMING)
    return turn.text("role", "") == "system" and index == 0 and not conversation.requests and not timed


def write(sessions: Iterable[RecordedSession], dest: Path, options: Options, losses: Losses) -> int:
    """Write one line an agent; a context that lost something starts another conversation."""
    count = 0
    names = Names()
    with written(dest) as file:
        for session in sessions:
            for name, requests in _agents(session, names, losses):
                for part, said in enumerate(stretches(session, name, requests, options, losses)):
                    line = {
                        "session_id": name if part == 0 else names.name(f"{name}~{part}"),
                        "turns": [_turn(each) for each in said],
                    }
                    file.write(orjson.dumps(line) + b"\n")
            losses.note("words: the text is filler of the right length", 1)
            losses.note("start of a session, and time that requests took", 1)
            count += 1
    return count


def _agents(
    session: RecordedSession, names: Names, losses: Losses
) -> Iterator[tuple[str, list[RecordedRequest]]]:
    main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    subagents = [entry for entry in session.entries if isinstance(entry, RecordedSubagent)]
    losses.note("sub-agent made a conversation of its own, without its parent", len(subagents))
    name = names.name(session.id)
    yield name, main
    for number, entry in enumerate(subagents, 1):
        yield names.name(f"{name}/{number}"), list(entry.requests)


def _turn(said: Said) -> dict[str, Any]:
    turn: dict[str, Any] = {"text": said.text}
    if said.request.output_tokens:
        turn["output_length"] = said.request.output_tokens
    if said.wait_s is not None:
        turn["delay"] = said.delay_ms
    return turn
