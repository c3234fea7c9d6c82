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
from swarm.workload.formats.apart import agents
from swarm.workload.formats.conversations.content import Content, name_of
from swarm.workload.formats.conversations.stretches import (
    SAME_S,
    Said,
    Spaces,
    Text,
    note_settings,
    stretches,
)
from swarm.workload.formats.conversations.text import READS, Held, delay_s, request_of, session_of, turn_text
from swarm.workload.formats.fields import Fields
from swarm.workload.formats.files import OnBroken, last_lines, read_lines, shown_name
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses, Names, written
from swarm.workload.recorded import RecordedRequest, RecordedSession

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = READS
_TIMING = ("timestamp", "delay", "output_length", "extra")


class _Conversation:
    def __init__(self, name: str, block_tokens: int) -> None:
        self.own = name_of(name.encode())
        self.content = Content(block_tokens)
        self.requests: list[RecordedRequest] = []
        self.held = Held()

    def take(self, fields: Fields, options: Options) -> None:
        """Add a turn to the context and send it."""
        at_s, wait_s = delay_s(fields, "timestamp"), delay_s(fields)
        text, output_tokens = turn_text(fields), fields.length("output_length", 0)
        if at_s is None:
            before_s = self.requests[-1].t_s if self.requests else 0.0
            at_s = fields.in_time("delay", before_s + (wait_s or 0.0))
        self.content.mark(fields.text("role", "user"))
        self.content.append_text(text, options.bytes_per_token)
        self.held.take(fields, self.content)
        self.requests.append(request_of(self.content, t_s=at_s, think_s=wait_s, output_tokens=output_tokens))
        self.content.mark("assistant")
        self.content.append(self.own, output_tokens)


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield the conversations of a file, in order of their first line; they share equal texts."""
    source, own = shown_name(file), shown_name(file.name)
    last = last_lines(file)
    found: dict[str, _Conversation] = {}
    for number, value in read_lines(file, on_broken):
        try:
            _line(Fields(source, f"line {number}", value), options, f"{own}:{number}", found)
        except TraceError as error:
            on_broken(error)
        while found and last.get(first := next(iter(found)), 0) <= number:
            yield session_of(source, first, found.pop(first).requests, options, has_words=True)
    for name, conversation in found.items():
        yield session_of(source, name, conversation.requests, options, has_words=True)


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
        conversation.held = Held(before.held.ids)
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
    spaces = Spaces()
    with written(dest) as file:
        for session in sessions:
            known = spaces.known(session)
            note_settings(session, options, losses)
            for name, start_s, requests in agents(session, names, losses):
                losses.note("start of a sub-agent", bool(requests) and start_s > 0)
                for part, said in enumerate(stretches(session, name, requests, known, options, losses)):
                    line = {
                        "session_id": name if part == 0 else names.name(f"{name}~{part}"),
                        "turns": [_turn(each) for each in said],
                    }
                    file.write(orjson.dumps(line, default=Text.written) + b"\n")
                    _note_times(said, losses)
            count += 1
    return count


def _note_times(said: list[Said], losses: Losses) -> None:
    """Name the times that are others when a conversation is read: that of a reply is not in the file."""
    at_s = 0.0
    for each in said:
        at_s += each.wait_s or 0.0
        think_s = each.request.think_s
        losses.note(
            "time of a request: a conversation starts at 0, and replies take none",
            abs(at_s - each.request.t_s) > SAME_S,
        )
        losses.note("think time before an agent's first request", think_s is not None and each.wait_s is None)


def _turn(said: Said) -> dict[str, Any]:
    turn: dict[str, Any] = {"text": said.text}
    if said.request.output_tokens:
        turn["output_length"] = said.request.output_tokens
    if said.wait_s is not None:
        turn["delay"] = said.delay_ms
    return turn
