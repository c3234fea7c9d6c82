"""OpenCode: a file a message in its storage, or a session's export; its input is beside what was cached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.workload.formats.agent_logs.documents import first_of, inside, text, time_s, tokens
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import Row, guarded, request_of
from swarm.workload.formats.files import OnBroken


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the replies that count tokens; a session with a parent is its sub-agent."""
    parents: dict[str, str] = {}
    folders: dict[str, str] = {}
    for row in list(guarded(values, on_broken, lambda file, value: _rows(value, parents, folders, tally))):
        own, steps = row.session, 0
        while row.session in parents and steps < len(parents):
            row.session, steps = parents[row.session], steps + 1
        if own != row.session:
            row.agent = own
        else:
            row.kind = ""
        row.project = row.project or folders.get(row.session, "")
        yield row


def _rows(
    value: dict[str, Any], parents: dict[str, str], folders: dict[str, str], tally: Tally
) -> Iterator[Row]:
    info = value["info"] if type(value.get("info")) is dict else value
    if text(info, "directory"):
        folders[text(info, "id")] = text(info, "directory")
        if text(info, "parentID"):
            parents[text(info, "id")] = text(info, "parentID")
    for message in value["messages"] if type(value.get("messages")) is list else ():
        if type(message) is dict:
            yield from _rows(message, parents, folders, tally)
    if text(info, "role") != "assistant":
        return
    counts = info.get("tokens")
    if type(counts) is not dict:
        tally.missing["replies without counts"] += 1
        return
    cache = counts.get("cache")
    reasoning = tokens(counts.get("reasoning"), "reasoning") or 0
    output = tokens(counts.get("output"), "output") or 0
    read = tokens(first_of(cache, "read"), "read")
    inputs, written = tokens(counts.get("input"), "input"), tokens(first_of(cache, "write"), "write")
    if not any((inputs, read, written, output, reasoning)):
        tally.missing["replies that count nothing: aborted"] += 1
        return
    yield Row(
        session=text(info, "sessionID"),
        agent="",
        kind=text(info, "agent", "mode"),
        request=request_of(
            start_s=time_s(inside(info, "time", "created"), "created"),
            end_s=time_s(inside(info, "time", "completed"), "completed"),
            model=text(info, "modelID"),
            inputs=inputs,
            read=read,
            written=written,
            outputs=output + reasoning,
            stop=text(info, "finish") or None,
            is_exclusive=True,
            tally=tally,
        ),
        project=text(info.get("path"), "root", "cwd"),
        id=text(info, "id"),
    )
