"""Request traces as JSON lines (the Mooncake format), with the sessions that aiperf adds to it.

A line is `timestamp` or `delay` (ms), `input_length`, `output_length`, `hash_ids`, `session_id`. A file
does not say how long a block is, nor whether the rows of a session hold all its context (cumulative) or
what a turn adds (delta): both are stated. Blocks include the partial last one, and all sessions share them.

Others write such rows with timestamps in seconds: `time_unit=s` says so. Rows with a `chat_id` are Bailian's,
whose timestamps are seconds and whose conversations fork: each row is a session of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from swarm.errors import TraceError, UsageError
from swarm.workload.formats.apart import agents
from swarm.workload.formats.blocks import Renamed, factor
from swarm.workload.formats.conversations.content import Content, name_of
from swarm.workload.formats.conversations.text import payload_content, session_of
from swarm.workload.formats.fields import SECONDS_MAX, Fields
from swarm.workload.formats.files import OnBroken, last_lines, read_lines, shown_name
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses, Names, milliseconds, written
from swarm.workload.formats.time_unit import Timestamps, timestamps_of
from swarm.workload.recorded import RecordedRequest, RecordedSession

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = Options(
    block_tokens=512,
    rows="",
    bytes_per_token=4.0,
    settings=("block_tokens", "rows", "bytes_per_token", "time_unit"),
)
"""The blocks of the published traces; how a session's rows relate has no default."""
WRITES = Options(block_tokens=0, rows="cumulative", bytes_per_token=4.0, settings=("block_tokens", "rows"))
"""Blocks as long as the source's."""
HOLDS: frozenset[str] = frozenset()

_MODES = ("input_length", "text_input", "messages", "payload")
_CONTEXT_MODES = {"message_array_with_responses": "cumulative", "deltas_without_responses": "delta"}


class _Session:
    """The rows of one session so far."""

    def __init__(self, block_tokens: int) -> None:
        self.content = Content(block_tokens)
        self.rows: list[RecordedRequest] = []
        self.has_words = False

    def recorded(self, source: str, name: str, options: Options) -> RecordedSession:
        """Return what the rows say."""
        return session_of(source, name, self.rows, options, has_words=self.has_words)


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield one session a line, and those with an id after their last row, in order of their first."""
    source, own = shown_name(file), shown_name(file.name)
    last = last_lines(file)
    is_unclear = not options.time_unit and timestamps_of(file).may_be_seconds
    sessions: dict[str, _Session] = {}
    for number, value in read_lines(file, on_broken):
        try:
            fields = Fields(source, f"line {number}", value)
            unit = _unit(fields, options, is_unclear)
            name = fields.text("session_id", "")
            session = sessions.get(name) if name else None
            if session is None:
                session = _Session(options.block_tokens)
            request = _request(fields, options, name, session, unit)
        except TraceError as error:
            on_broken(error)
        else:
            session.rows.append(request)
            if name:
                sessions[name] = session
            else:
                yield session.recorded(source, f"{own}:{number}", options)
        while sessions and last.get(first := next(iter(sessions)), 0) <= number:
            yield sessions.pop(first).recorded(source, first, options)
    for name, session in sessions.items():
        yield session.recorded(source, name, options)


def _unit(fields: Fields, options: Options, is_unclear: bool) -> float:
    """Return the seconds of one unit of a row's times."""
    unit = options.time_unit or ("s" if "chat_id" in fields.values else "")
    if not unit and is_unclear:
        raise UsageError(
            f"{fields.source}: its timestamps lie so close together that they may be seconds; state "
            "their unit as mooncake:time_unit=s or time_unit=ms"
        )
    return 1.0 if unit == "s" else 1e-3


def _request(
    fields: Fields, options: Options, name: str, session: _Session, unit_s: float
) -> RecordedRequest:
    rows = _relation(fields, options)
    is_whole = any(fields.values.get(mode) is not None for mode in ("messages", "payload"))
    if session.rows and not rows and not is_whole:
        raise fields.broken(
            "session_id",
            f"{name!r} has several rows; state what they hold as mooncake:rows=cumulative or rows=delta",
        )
    output_tokens = fields.count("output_length", 0)
    start_s, think_s = _start(fields, session.rows, unit_s)
    words = _words(fields, options)
    if words is not None:
        input_tokens, ids = words
        session.has_words = True
    else:
        input_tokens, ids = fields.count("input_length"), fields.ids("hash_ids")
        _fit(fields, len(ids), input_tokens, options.block_tokens)
        if name and rows == "delta":
            fields.length("input_length"), fields.length("output_length", 0)
            input_tokens, ids = _grown(session.content, name, input_tokens, output_tokens, ids, options)
    return RecordedRequest(
        t_s=start_s,
        model=fields.text("model", ""),
        streaming=True,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        hash_ids=ids,
        input_types=(),
        output_types=(),
        stop=None,
        api_s=None,
        think_s=think_s,
        ttft_s=None,
    )


def _words(fields: Fields, options: Options) -> tuple[int, Sequence[int]] | None:
    """Return size and blocks of a row that gives words instead of a length: a prompt, messages, a body."""
    modes = [name for name in _MODES if fields.values.get(name) is not None]
    if len(modes) != 1:
        raise fields.broken("", f"must hold one of {', '.join(_MODES)}, got {', '.join(modes) or 'none'}")
    if modes[0] == "input_length":
        return None
    if options.rows == "delta" and modes[0] == "text_input" and fields.values.get("session_id"):
        raise fields.broken("text_input", "cannot be the new part of a session; state rows=cumulative")
    content = Content(options.block_tokens)
    if modes[0] == "text_input":
        content.append_text(fields.text("text_input").encode(errors="replace"), options.bytes_per_token)
    else:
        body = fields
        if modes[0] == "payload":
            body = Fields(fields.source, f"{fields.place}: payload", fields.values["payload"])
        content = payload_content(body, options)
    return content.tokens, content.ids


def _relation(fields: Fields, options: Options) -> str:
    mode = fields.text("context_mode", "")
    if mode and mode not in _CONTEXT_MODES:
        raise fields.broken("context_mode", f"must be one of {', '.join(_CONTEXT_MODES)}, got {mode!r}")
    stated = _CONTEXT_MODES.get(mode, "")
    if stated and options.rows and stated != options.rows:
        raise fields.broken("context_mode", f"says {stated} rows, but rows={options.rows} was stated")
    return stated or options.rows


def _fit(fields: Fields, blocks: int, input_tokens: int, block_tokens: int) -> None:
    """Refuse a block size that cannot be the file's."""
    whole = input_tokens // block_tokens
    if blocks and blocks not in (whole, -(-input_tokens // block_tokens)):
        raise fields.broken(
            "hash_ids",
            f"{blocks} ids for input_length={input_tokens} are no blocks of {block_tokens} tokens; "
            "state the file's block size as mooncake:block_tokens=N",
        )


def _grown(
    content: Content, name: str, input_tokens: int, output_tokens: int, ids: Any, options: Options
) -> tuple[int, array[int]]:
    """Return the whole context of a row that gives what is new; replies are the session's own."""
    own = name_of(name.encode())
    left = input_tokens
    for block_id in ids:
        size = min(left, options.block_tokens)
        content.append(int(block_id), size)
        left -= size
    if left:
        content.append(own, left)
    total, blocks = content.tokens, content.ids[:]
    if output_tokens:
        content.append(~own, output_tokens)
    return total, blocks


def _start(fields: Fields, rows: list[RecordedRequest], unit_s: float) -> tuple[float, float | None]:
    """Return the start and the think time in seconds; without a timestamp a row waits out its delay."""
    per_s = round(1 / unit_s)
    most = SECONDS_MAX * per_s
    at, delay = fields.seconds_or_none("timestamp", most), fields.seconds_or_none("delay", most)
    think_s = None if delay is None else delay / per_s
    if at is not None:
        return at / per_s, think_s
    return fields.in_time("delay", (rows[-1].t_s if rows else 0.0) + (think_s or 0.0)), think_s


def write(sessions: Iterable[RecordedSession], dest: Path, options: Options, losses: Losses) -> int:
    """Write one line a request, in order of time within an agent; return how many sessions."""
    if options.rows != "cumulative":
        raise UsageError("mooncake is written with rows=cumulative alone: a delta loses what a context drops")
    renamed = Renamed()
    titles = Names()
    count = 0
    size = options.block_tokens
    times_written = Timestamps()
    with written(dest) as file:
        for session in sessions:
            times = factor(session, options.block_tokens)
            size = _one_size(size, session, times)
            names = renamed.session(session)
            _note_blocks(session, times, losses)
            for name, start_s, requests in agents(session, titles, losses):
                if len(requests) > 1:
                    losses.note("session of rows that each hold the whole prompt: aiperf would add them up")
                for request in requests:
                    ids = renamed.ids(names, session, request, times)
                    row = _row(name, start_s, request, ids)
                    file.write(orjson.dumps(row) + b"\n")
                    times_written.take(row["timestamp"], is_fraction=type(row["timestamp"]) is float)
            count += 1
    losses.note("unit of times: read it with time_unit=ms", times_written.may_be_seconds)
    return count


def _one_size(size: int, session: RecordedSession, times: int) -> int:
    """Return the file's block size (0: not known yet), and refuse a session of another."""
    own = session.block_tokens * times
    if size not in (0, own):
        raise UsageError(
            f"{session.source}: blocks of {own} tokens, and sessions before it have {size}; a Mooncake "
            "file has blocks of one size: state a multiple of both as block_tokens=N"
        )
    return own


def _note_blocks(session: RecordedSession, times: int, losses: Losses) -> None:
    size = session.block_tokens * times
    losses.note(f"session in blocks of {size} tokens instead of {session.block_tokens}", times > 1)
    losses.note(f"size of blocks: read it with block_tokens={size}", size != DEFAULTS.block_tokens)


def _row(name: str, start_s: float, request: RecordedRequest, ids: list[int]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "session_id": name,
        "timestamp": milliseconds(start_s + request.t_s),
        "input_length": request.input_tokens,
        "output_length": request.output_tokens,
        "hash_ids": ids,
    }
    return row if request.think_s is None else row | {"delay": milliseconds(request.think_s)}
