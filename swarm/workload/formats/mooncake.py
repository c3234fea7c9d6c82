"""Request traces as JSON lines (the Mooncake format), with the sessions that aiperf adds to it.

A line is `timestamp` or `delay` (ms), `input_length`, `output_length`, `hash_ids`, `session_id`. A file
does not say how long a block is, nor whether the rows of a session hold all its context (cumulative) or
what a turn adds (delta): both are stated. Blocks include the partial last one, and all sessions share them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.content import Content, name_of
from swarm.workload.formats.fields import Fields
from swarm.workload.formats.files import OnBroken, read_lines
from swarm.workload.formats.options import Options
from swarm.workload.recorded import RecordedRequest, RecordedSession

SUFFIXES = (".jsonl", ".ndjson")
DEFAULTS = Options(block_tokens=512, rows="", bytes_per_token=4.0)
"""The blocks of the published traces; how a session's rows relate has no default."""

_CONTEXT_MODES = {"message_array_with_responses": "cumulative", "deltas_without_responses": "delta"}


class _Session:
    """The rows of one session so far."""

    def __init__(self, block_tokens: int) -> None:
        self.content = Content(block_tokens)
        self.rows: list[RecordedRequest] = []


def read(file: Path, options: Options, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield one session a line; those with an id at the end, as their rows may be anywhere."""
    sessions: dict[str, _Session] = {}
    for number, value in read_lines(file, on_broken):
        try:
            fields = Fields(str(file), f"line {number}", value)
            name = fields.text("session_id", "")
            session = sessions.get(name) if name else None
            if session is None:
                session = _Session(options.block_tokens)
            request = _request(fields, options, name, session)
        except TraceError as error:
            on_broken(error)
            continue
        session.rows.append(request)
        if name:
            sessions[name] = session
        else:
            yield _recorded(file, options, f"{file.name}:{number}", session.rows)
    for name, session in sessions.items():
        yield _recorded(file, options, name, session.rows)


def _recorded(file: Path, options: Options, name: str, rows: Iterable[RecordedRequest]) -> RecordedSession:
    return RecordedSession(
        id=name,
        source=str(file),
        namespace=f"global/{options.block_tokens}/{file}",
        block_tokens=options.block_tokens,
        tool_tokens=0,
        system_tokens=0,
        models=(),
        entries=tuple(rows),
    )


def _request(fields: Fields, options: Options, name: str, session: _Session) -> RecordedRequest:
    rows = _relation(fields, options)
    if session.rows and not rows:
        raise fields.broken(
            "session_id",
            f"{name!r} has several rows; state what they hold as mooncake:rows=cumulative or rows=delta",
        )
    input_tokens, ids = fields.count("input_length"), fields.ids("hash_ids")
    _fit(fields, len(ids), input_tokens, options.block_tokens)
    output_tokens = fields.count("output_length", 0)
    start_s, think_s = _start(fields, session.rows)
    if name and rows == "delta":
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


def _start(fields: Fields, rows: list[RecordedRequest]) -> tuple[float, float | None]:
    """Return the start and the think time in seconds; without a timestamp a row waits out its delay."""
    at_ms, delay_ms = fields.seconds_or_none("timestamp"), fields.seconds_or_none("delay")
    think_s = None if delay_ms is None else delay_ms / 1000
    if at_ms is not None:
        return at_ms / 1000, think_s
    return (rows[-1].t_s if rows else 0.0) + (think_s or 0.0), think_s
