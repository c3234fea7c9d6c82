"""Agentic Mooncake (Dynamo): a row a request with ids of blocks, and which requests it waited for.

Version 1 has rows alone: one without `wait_for` starts at its `timestamp`, another `delay` and `tool_wait_ms`
after all that it waits for. Version 2 begins with a header; its rows have `play_id`, `not_before_ms` and
`dependencies`. Source: Dynamo's documentation, "Trace Format Reference".
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.streams import digest64
from swarm.workload.formats.agent_logs.documents import MS_MAX, first_of, text, tokens
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.fields import TOKENS_MAX, shown
from swarm.workload.formats.files import OnBroken, shown_name

HEADER = "dynamo.agentic_mooncake"
VERSIONS = (2,)
SIZES = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1024, 2048, 4096)
"""Tokens of a block, in the order in which they are taken where several fit; Dynamo's own first."""
_MASK = (1 << 62) - 1
_SPREAD = 0x1E3779B97F4A7C15
"""Odd: another id stays another one."""


@dataclass(slots=True)
class _Each:
    """A row, and what it waits for."""

    place: str
    values: dict[str, Any]
    id: str
    agent: str
    play: str
    waits: list[tuple[str, bool, float]]
    """Requests, whether for their starts alone, and seconds after that."""
    ids: list[int]
    stated_s: float
    lasted_s: float
    is_tool: bool
    start_s: float = 0.0
    end_s: float = 0.0


@dataclass(slots=True)
class _File:
    """The rows of one file by their ids, and what its header says."""

    block_tokens: int = 0
    is_global: bool = True
    rows: dict[str, _Each] = field(default_factory=dict)


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests; a session whose first request waits for another session's is its sub-agent."""
    files: dict[Path, _File] = {}
    for path, place, value in values:
        file = files.setdefault(path, _File())
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            _take(file, place, value, tally)
        except ValueError as fault:
            on_broken(TraceError(shown_name(path), place, str(fault)))
    for path, file in files.items():
        yield from _rows(path, file, tally, on_broken)


def _take(file: _File, place: str, value: dict[str, Any], tally: Tally) -> None:
    if value.get("schema") == HEADER:
        if value.get("version") not in VERSIONS:
            raise ValueError(f"version: must be one of {VERSIONS}, got {shown(value.get('version'))}")
        file.block_tokens = tokens(value.get("block_size"), "block_size") or 0
        file.is_global = value.get("hash_id_scope") != "local"
        return
    own = text(value, "request_id")
    if not own:
        raise ValueError("request_id: is missing")
    if own in file.rows:
        tally.read["rows of a request that came before"] += 1
        return
    ids = value.get("hash_ids")
    if type(ids) is not list or any(type(each) is not int or not 0 <= each < 1 << 64 for each in ids):
        raise ValueError("hash_ids: must be a list of integers of 64 bits")
    for name in ("input_length", "output_length", "input_tokens", "output_tokens"):
        tokens(value.get(name), name)
    file.rows[own] = _Each(
        place=place,
        values=value,
        id=own,
        agent=text(value, "session_id"),
        play=text(value, "play_id"),
        waits=list(_waits(value)),
        ids=ids,
        stated_s=_seconds(value, "not_before_ms", "timestamp", "created_time"),
        lasted_s=_seconds(value, "recorded_api_time_ms"),
        is_tool=_seconds(value, "tool_wait_ms") > 0,
    )


def _waits(value: dict[str, Any]) -> Iterator[tuple[str, bool, float]]:
    """Yield what a row waits for, in either version."""
    after_s = _seconds(value, "delay", "delay_ms") + _seconds(value, "tool_wait_ms")
    named = value.get("wait_for")
    for each in named if type(named) is list else ():
        if type(each) is not str:
            raise ValueError("wait_for: must be a list of request ids")
        yield each, False, after_s
    edges = value.get("dependencies")
    for edge in edges if type(edges) is list else ():
        if not text(edge, "request_id"):
            raise ValueError("dependencies: must be objects with a request_id")
        yield text(edge, "request_id"), text(edge, "trigger") == "dispatch", _seconds(edge, "delay_ms")


def _seconds(value: dict[str, Any], *names: str) -> float:
    found = first_of(value, *names)
    if found is None:
        return 0.0
    if type(found) not in (int, float) or not 0 <= found < MS_MAX * 1e3:
        raise ValueError(f"{names[0]}: must be milliseconds, got {shown(found)}")
    return float(found) / 1000


def _rows(path: Path, file: _File, tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    rows = _in_order(file, path, on_broken)
    size = file.block_tokens or _size_of(rows)
    if rows and not 0 < size <= TOKENS_MAX:
        reason = "hash_ids: blocks of no size give these lengths as many ids as they have"
        on_broken(TraceError(shown_name(path), "file", reason))
        return
    if not file.block_tokens:
        tally.inferred[f"blocks of {size} tokens, from lengths and their counts of ids"] += len(rows)
    parents = _parents(rows, file)
    for each in rows:
        root, steps = each.agent, 0
        while root in parents and steps < len(parents):
            root, steps = parents[root], steps + 1
        yield _row(path, file, each, root, size, tally)


def _in_order(file: _File, path: Path, on_broken: OnBroken) -> list[_Each]:
    """Return the rows after those that they wait for, with their starts and ends."""
    done: dict[str, _Each] = {}
    left = list(file.rows.values())
    while left:
        later = []
        for each in left:
            known = [wait for wait in each.waits if wait[0] in file.rows]
            if any(wait[0] not in done for wait in known):
                later.append(each)
                continue
            _place(each, [(done[other], at_start, after_s) for other, at_start, after_s in known])
            done[each.id] = each
        if len(later) == len(left):
            for each in later:
                on_broken(TraceError(shown_name(path), each.place, "waits for a request that waits for it"))
            break
        left = later
    return sorted(done.values(), key=lambda each: each.start_s)


def _place(each: _Each, waits: list[tuple[_Each, bool, float]]) -> None:
    ready_s = max(
        ((other.start_s if at_start else other.end_s) + after_s for other, at_start, after_s in waits),
        default=0.0,
    )
    # The first version's times of rows that wait are of the recording, and not of what they wait for.
    is_later = "not_before_ms" in each.values or not waits
    each.start_s = max(ready_s, each.stated_s) if is_later else ready_s
    each.end_s = each.start_s + each.lasted_s
    if not each.agent:
        each.agent = waits[0][0].agent if waits else each.id


def _size_of(rows: Iterable[_Each]) -> int:
    """Return the tokens of a block with which all lengths have as many ids as their rows; 0 where none."""
    least, most = 1.0, inf
    for each in rows:
        length = tokens(first_of(each.values, "input_length", "input_tokens"), "input_length")
        count = len(each.ids)
        if length is None or not count:
            continue
        least = max(least, -(-length // count))
        most = min(most, (length - 1) // (count - 1)) if count > 1 else most
    return next((size for size in SIZES if least <= size <= most), 0)


def _parents(rows: Iterable[_Each], file: _File) -> dict[str, str]:
    """Return the session for which each session works: the one that its first request waited for."""
    parents: dict[str, str] = {}
    begun: set[str] = set()
    for each in rows:
        if each.agent in begun:
            continue
        begun.add(each.agent)
        other = next((file.rows[own].agent for own, _, _ in each.waits if own in file.rows), each.agent)
        if other != each.agent:
            parents[each.agent] = other
    return parents


def _row(path: Path, file: _File, each: _Each, root: str, size: int, tally: Tally) -> Row:
    values = each.values
    inputs = tokens(first_of(values, "input_length", "input_tokens"), "input_length")
    inputs = len(each.ids) * size if inputs is None else inputs
    scope = digest64(f"{shown_name(path)}\0{'' if file.is_global else each.play or root}")
    return Row(
        session=each.play or root,
        agent="" if each.agent == root else each.agent,
        kind="" if each.agent == root else text(values, "request_kind") or "agent",
        request=request_of(
            start_s=each.start_s,
            end_s=each.end_s,
            model=text(values, "model"),
            inputs=inputs,
            read=None,
            written=None,
            outputs=tokens(first_of(values, "output_length", "output_tokens"), "output_length"),
            opened_by="tool" if each.is_tool else "notice",
            tally=tally,
        ),
        ids=array("q", [(scope + own * _SPREAD) & _MASK for own in each.ids[: inputs // size]]),
        block_tokens=size,
    )
