"""What `swarm capture` writes: an entry a request, with salted hashes of its words in place of them."""

from __future__ import annotations

import binascii
from array import array
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.content import PIECE_BYTES, Content
from swarm.workload.formats.agent_logs.documents import text, time_s, tokens, took_s
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name

SCHEMA = "swarm.capture.v1"
HOUR_S, FIVE_MINUTES_S = 3600.0, 300.0
_OPENED: dict[str, OpenedBy] = {"tool": "tool", "human": "human"}


@dataclass(slots=True)
class _Found:
    """A row, and whom it works for."""

    row: Row
    parent: str


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests that were answered; agents stand in the tree that the entries tell."""
    found: list[_Found] = []
    prompts: dict[tuple[Path, str], tuple[Any, array[int]]] = {}
    for file, place, value in values:
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            row = _row(file, value, prompts, tally)
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), place, str(fault)))
            continue
        if row is not None:
            found.append(_Found(row, text(value, "parent")))
    yield from _in_trees(found)


def _in_trees(found: list[_Found]) -> Iterator[Row]:
    """Give each row its session, and the main agent of each session no name.

    An agent without a parent is the main one; of several in one session the one with the most requests, as
    clients ask for titles and the like beside their work.
    """
    parents: dict[tuple[str, str], str] = {}
    requests: Counter[tuple[str, str]] = Counter()
    for each in found:
        own = (each.row.session, each.row.agent)
        requests[own] += 1
        if each.parent:
            parents.setdefault(own, each.parent)
    for each in found:
        row = each.row
        if row.session:
            continue
        root, steps = row.agent, 0
        while ("", root) in parents and steps < len(parents):
            root, steps = parents["", root], steps + 1
        row.session = root
        if row.agent == root:
            row.agent, row.kind = "", ""
    mains: dict[str, str] = {}
    for (session, agent), _ in requests.most_common():
        if session and (session, agent) not in parents:
            mains.setdefault(session, agent)
    for each in found:
        if mains.get(each.row.session) == each.row.agent and each.row.agent:
            each.row.agent, each.row.kind = "", ""
        yield each.row


def _row(
    file: Path, value: dict[str, Any], prompts: dict[tuple[Path, str], tuple[Any, array[int]]], tally: Tally
) -> Row | None:
    content = _content(file, value, prompts)
    outcome = text(value, "outcome")
    inputs = tokens(value.get("input_tokens"), "input_tokens")
    if not text(value, "agent"):
        tally.missing["requests whose words were not read"] += 1
        return None
    if outcome != "ok" and (inputs is None or outcome != "client_gone"):
        tally.missing[f"requests that failed: {outcome}"] += 1
        return None
    if outcome != "ok":
        tally.inferred["outputs of replies that the client cut off, by what had come"] += 1
    start_s = time_s(value.get("start_s"), "start_s")
    end_s, first_s = (_after(start_s, value.get(name)) for name in ("end_ms", "first_token_ms"))
    outputs = tokens(value.get("output_tokens"), "output_tokens")
    deltas = tokens(value.get("deltas"), "deltas")
    written = tokens(value.get("written_tokens"), "written_tokens")
    hour = tokens(value.get("written_1h_tokens"), "written_1h_tokens")
    read = tokens(value.get("read_tokens"), "read_tokens")
    types = value.get("output_types")
    if outputs is None and deltas is not None:
        tally.inferred["outputs that no server counted, by the pieces that they came in"] += 1
    request = request_of(
        start_s=start_s,
        end_s=end_s,
        first_s=first_s,
        model=text(value, "model"),
        inputs=inputs,
        read=read,
        written=written,
        outputs=deltas if outputs is None else outputs,
        stop=text(value, "stop") or None,
        opened_by=_OPENED.get(text(value, "opened_by"), "notice"),
        ttl_s=None if hour is None else HOUR_S if hour else FIVE_MINUTES_S,
        output_types=tuple(filter(None, types))
        if type(types) is list and all(type(t) is str for t in types)
        else (),
        tally=tally,
    )
    kind = text(value, "kind")
    return Row(
        session=text(value, "session"),
        agent=text(value, "agent"),
        kind=kind or "agent",
        request=request,
        content=content,
    )


def _after(start_s: float | None, milliseconds: Any) -> float | None:
    lasted_s = took_s(milliseconds)
    return None if start_s is None or lasted_s is None else start_s + lasted_s


def _content(
    file: Path, value: dict[str, Any], prompts: dict[tuple[Path, str], tuple[Any, array[int]]]
) -> Content | None:
    """Return a prompt's hashes: those of the entry before it that it goes on from, and its own."""
    written = value.get("hashes")
    if written is None:
        return None
    size, shared = tokens(value.get("content_bytes"), "content_bytes"), tokens(value.get("shared"), "shared")
    if type(written) is not str or size is None or shared is None:
        raise ValueError("hashes, content_bytes, shared: must be a text and two counts")
    try:
        own = array("q", b64decode(written, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError("hashes: must be base64 of numbers of 64 bits") from None
    whose = (file, f"{text(value, 'session')}\0{text(value, 'agent')}")
    ends = array("q")
    if shared:
        number, before = prompts.get(whose, (None, ends))
        if number != value.get("base") or len(before) < shared:
            # The entry that it refers to is broken or gone: what is before it is not known.
            return None
        ends = before[:shared]
    ends.extend(own)
    if len(ends) != size // PIECE_BYTES:
        raise ValueError(f"hashes: must be one for each {PIECE_BYTES} bytes of {size}, got {len(ends)}")
    prompts[whose] = (value.get("number"), ends)
    return Content(size, ends)
