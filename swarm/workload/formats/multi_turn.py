"""Conversations as JSON lines with the new text of each turn (aiperf's `multi_turn`).

A line is `session_id` and `turns`: `text` or `texts`, `delay` or `timestamp` (ms), `output_length`, `role`.
A turn sends all turns before it and their replies, which the file does not hold: a reply counts as its
`output_length`. Lines of one `session_id` go on with the same conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import shake_128
from pathlib import Path
from typing import Any

import orjson

from swarm.errors import TraceError
from swarm.workload.formats.content import Content, name_of
from swarm.workload.formats.fields import Fields
from swarm.workload.formats.files import OnBroken, read_lines
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses, written
from swarm.workload.formats.text import delay_s, request_of, turn_text
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = Options(block_tokens=16, rows="", bytes_per_token=4.0)
WRITES = Options(block_tokens=0, rows="", bytes_per_token=4.0)
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
    found: dict[str, _Conversation] = {}
    for number, value in read_lines(file, on_broken):
        try:
            _line(Fields(str(file), f"line {number}", value), options, f"{file.name}:{number}", found)
        except TraceError as error:
            on_broken(error)
    for name, conversation in found.items():
        if conversation.requests:
            yield RecordedSession(
                id=name,
                source=str(file),
                namespace=f"global/{options.block_tokens}/{file}",
                block_tokens=options.block_tokens,
                tool_tokens=0,
                system_tokens=0,
                models=(),
                entries=tuple(conversation.requests),
            )


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
    with written(dest) as file:
        for session in sessions:
            for name, requests in _agents(session, losses):
                for part, turns in enumerate(_parts(session, name, requests, options, losses)):
                    line = {"session_id": name if part == 0 else f"{name}~{part}", "turns": turns}
                    file.write(orjson.dumps(line) + b"\n")
            losses.note("words: the text is filler of the right length", 1)
            losses.note("start of a session, and time that requests took", 1)
            count += 1
    return count


def _agents(session: RecordedSession, losses: Losses) -> Iterator[tuple[str, list[RecordedRequest]]]:
    main = [entry for entry in session.entries if isinstance(entry, RecordedRequest)]
    subagents = [entry for entry in session.entries if isinstance(entry, RecordedSubagent)]
    losses.note("sub-agent made a conversation of its own, without its parent", len(subagents))
    yield session.id, main
    for number, entry in enumerate(subagents, 1):
        yield f"{session.id}/{number}", list(entry.requests)


def _parts(
    session: RecordedSession, name: str, requests: list[RecordedRequest], options: Options, losses: Losses
) -> Iterator[list[dict[str, Any]]]:
    """Yield the turns of each stretch of an agent's life in which its context only grew."""
    turns: list[dict[str, Any]] = []
    previous: RecordedRequest | None = None
    for number, request in enumerate(sorted(requests, key=lambda request: request.t_s)):
        new = request.input_tokens if previous is None else _grown(previous, request)
        if new <= 0 and previous is not None:
            losses.note("context that lost something: goes on as another conversation", 1)
            yield turns
            turns, new = [], request.input_tokens
        if new <= 0:
            losses.note("request without input: left out", 1)
            continue
        text = _text(session, name, number, request, new if turns else 0, options)
        turn: dict[str, Any] = {"text": text}
        if request.output_tokens:
            turn["output_length"] = request.output_tokens
        if previous is not None:
            turn["delay"] = round(_wait_s(previous, request) * 1000, 3)
        turns.append(turn)
        previous = request
    if turns:
        yield turns


def _grown(previous: RecordedRequest, request: RecordedRequest) -> int:
    """Return how many tokens are new beyond the previous prompt and its reply; 0 if not all are kept."""
    kept = len(previous.hash_ids)
    if list(request.hash_ids[:kept]) != list(previous.hash_ids):
        return 0
    return request.input_tokens - previous.input_tokens - previous.output_tokens


def _wait_s(previous: RecordedRequest, request: RecordedRequest) -> float:
    if request.think_s is not None:
        return request.think_s
    return max(0.0, request.t_s - previous.t_s - (previous.api_s or 0.0))


def _text(
    session: RecordedSession, name: str, number: int, request: RecordedRequest, new: int, options: Options
) -> str:
    """Return filler: of `new` tokens, or of a whole first prompt, equal as far as its blocks are."""
    scope = session.namespace if session.shares_ids else f"{session.namespace}|{session.id}"
    texts = []
    size = new
    if not new:
        whole = request.hash_ids[: request.input_tokens // session.block_tokens]
        texts = [_filler(f"{scope}|{each}", session.block_tokens, options) for each in whole]
        size = request.input_tokens - len(whole) * session.block_tokens
    return "".join((*texts, _filler(f"{session.namespace}|{name}|{number}", size, options)))


def _filler(seed: str, tokens: int, options: Options) -> str:
    length = round(tokens * options.bytes_per_token)
    return shake_128(seed.encode(errors="replace")).hexdigest((length + 1) // 2)[:length]
