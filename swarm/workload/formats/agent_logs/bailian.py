"""Bailian's usage traces: a row a request with ids of blocks of 16 tokens; a chat goes on from its parent."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.workload.formats.agent_logs.documents import tokens
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import Row, guarded, request_of
from swarm.workload.formats.fields import SECONDS_MAX
from swarm.workload.formats.files import OnBroken

BLOCK_TOKENS = 16
_SIGNED = 1 << 63


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests; rows come in the order of time, a parent before its children."""
    roots: dict[tuple[Path, int], int] = {}
    yield from guarded(values, on_broken, lambda file, row: _rows(file, row, roots, tally))


def _rows(file: Path, row: dict[str, Any], roots: dict[tuple[Path, int], int], tally: Tally) -> Iterator[Row]:
    chat, parent, at_s, ids = (
        row.get(name) for name in ("chat_id", "parent_chat_id", "timestamp", "hash_ids")
    )
    if type(chat) is not int or type(parent) is not int:
        raise ValueError("chat_id, parent_chat_id: must be integers")
    if not isinstance(at_s, int | float) or not 0 <= at_s <= SECONDS_MAX:
        raise ValueError("timestamp: must be seconds from the trace's start")
    if type(ids) is not list or any(type(each) is not int for each in ids):
        raise ValueError("hash_ids: must be a list of integers")
    if any(not -_SIGNED <= each < _SIGNED for each in ids):
        raise ValueError("hash_ids: must be integers of 64 bits")
    root = roots[(file, chat)] = roots.get((file, parent), chat)
    inputs = tokens(row.get("input_length"), "input_length")
    if inputs is None:
        raise ValueError("input_length: is missing")
    request = request_of(
        start_s=float(at_s),
        end_s=None,
        model=str(row.get("type", "")),
        inputs=inputs,
        read=None,
        written=None,
        outputs=tokens(row.get("output_length"), "output_length"),
        opened_by="human",
        tally=tally,
    )
    yield Row(
        session=f"{file.name.split('.')[0]}-{root}",
        agent="",
        kind="",
        request=request,
        ids=array("q", ids[: inputs // BLOCK_TOKENS]),
        block_tokens=BLOCK_TOKENS,
    )
