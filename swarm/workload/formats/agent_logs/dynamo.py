"""Dynamo's request traces: a row a request with the blocks' own hashes, rows of tools beside them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.workload.formats.agent_logs.documents import first_of, inside, text, time_s, tokens, took_s
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import BLOCK_TOKENS, Row, guarded, request_of
from swarm.workload.formats.files import OnBroken

SCHEMAS = ("dynamo.request.trace.v1", "dynamo.agent.trace.v1")
_SIGNED = 1 << 63


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the ends of requests; a session whose parent is known is its sub-agent."""
    parents: dict[str, str] = {}
    rows = list(guarded(values, on_broken, lambda file, row: _rows(row, parents, tally)))
    for row in rows:
        root, steps = row.session, 0
        while root in parents and steps < len(parents):
            root, steps = parents[root], steps + 1
        if root != row.session:
            row.agent, row.kind, row.session = row.session, row.kind or "agent", root
        yield row


def _rows(value: dict[str, Any], parents: dict[str, str], tally: Tally) -> Iterator[Row]:
    event = value["event"] if type(value.get("event")) is dict else value
    if text(event, "event_type") != "request_end":
        tally.read["rows of tools"] += 1
        return
    request, context = event.get("request"), event.get("agent_context")
    if type(request) is not dict:
        raise ValueError("request: must be an object")
    replay = request.get("replay")
    own = text(context, "trajectory_id") or text(context, "session_id") or text(request, "request_id")
    parent = text(context, "parent_trajectory_id", "parent_session_id")
    if parent and parent != own:
        parents[own] = parent
    received = time_s(request.get("request_received_ms"), "request_received_ms")
    ended = time_s(event.get("event_time_unix_ms"), "event_time_unix_ms")
    lasted_s, waited_s = took_s(request.get("total_time_ms")), took_s(request.get("ttft_ms"))
    if received is not None and lasted_s is not None:
        ended = received + lasted_s
    inputs = tokens(first_of(replay, "input_length"), "input_length")
    inputs = tokens(request.get("input_tokens"), "input_tokens") if inputs is None else inputs
    block = tokens(first_of(replay, "trace_block_size"), "trace_block_size")
    hashes = first_of(replay, "input_sequence_hashes")
    yield Row(
        session=own,
        agent="",
        kind=text(context, "session_type_id") if parent else "",
        request=request_of(
            start_s=received,
            end_s=ended,
            first_s=None if received is None or waited_s is None else received + waited_s,
            model=text(request, "model"),
            inputs=inputs,
            read=tokens(request.get("cached_tokens"), "cached_tokens"),
            written=None,
            outputs=tokens(request.get("output_tokens"), "output_tokens"),
            stop=text(inside(request, "finish_reason_metadata"), "finish_reason") or None,
            tally=tally,
        ),
        ids=_ids(hashes, (inputs or 0) // block) if block and type(hashes) is list else None,
        block_tokens=block or BLOCK_TOKENS,
        id=text(request, "request_id"),
    )  # fmt: skip


def _ids(hashes: list[Any], whole: int) -> array[int]:
    """Return the hashes of whole blocks as signed numbers of the same 64 bits."""
    if any(type(each) is not int or not -_SIGNED <= each < 2 * _SIGNED for each in hashes):
        raise ValueError("input_sequence_hashes: must be integers of 64 bits")
    return array("q", [each - 2 * _SIGNED if each >= _SIGNED else each for each in hashes[:whole]])
