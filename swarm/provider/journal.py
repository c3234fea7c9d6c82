"""A served fleet's inputs and outputs on file, and the proof that the one follows from the other.

One JSON list a line: `["fleet", config]` first; `["node", name, parent, start]` before a node is used;
`["submit", at_s, id, session, node, prompt tokens, output tokens]`, with tokens and seconds behind it where
some are to be kept for longer; `["cancel", at_s, id]`;
`["clear", at_s]`; `["recall", node, start, [[end, used_s, dropped_by], ...]]` for content that was there once
under another node; and what the fleet said: `["first" | "finished" | "refused", at_s, id, ...]`. Times are
the fleet's, to the last bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import orjson

from swarm.config.fleet import FleetConfig
from swarm.context.tree import Node, Prompt
from swarm.errors import RunError
from swarm.fleet.build import build_fleet
from swarm.fleet.events import CacheUse, Event, Finished, FirstToken, FleetRequest, Refused, Tokens
from swarm.kvcache.loss import Gone

KINDS: dict[type, str] = {FirstToken: "first", Finished: "finished", Refused: "refused"}
FILE_BYTES_MAX = 8 * 1024**3
"""At this size the journal ends, with a line that says so."""
BUFFER_BYTES = 1 << 16


class FleetJournal:
    """Writes; the last lines are on disk after `close`."""

    def __init__(self, path: Path, config: FleetConfig) -> None:
        try:
            self._file = path.open("wb", buffering=BUFFER_BYTES)
            self._path = path
        except OSError as error:
            raise RunError(f"--journal {path}: {error.strerror}; name a file that can be written") from None
        self._bytes_count = 0
        self._known: WeakSet[Node] = WeakSet()
        self._write(["fleet", config.model_dump(mode="json")])

    def submit(self, request: FleetRequest, at_s: float) -> None:
        """Note a request."""
        node, length = request.prompt
        self._note(node)
        keep = [request.keep_tokens, request.keep_s] if request.keep_s else []
        who = [request.request_id, request.session]
        self._write(["submit", at_s, *who, node.name, length, request.output_tokens, *keep])

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        """Note that a node's first blocks were there once."""
        self._note(node)
        self._write(["recall", node.name, start, [list(each) for each in gone]])

    def cancel(self, request_id: int, at_s: float) -> None:
        """Note that a request was given up."""
        self._write(["cancel", at_s, request_id])

    def clear(self, at_s: float) -> None:
        """Note that the caches were cleared."""
        self._write(["clear", at_s])

    def event(self, event: Event) -> None:
        """Note what the fleet said."""
        if not isinstance(event, Tokens):
            self._write(said(event))

    def close(self) -> None:
        """Write the rest."""
        if not self._file.closed:
            self._carry_out(self._file.close)

    def _note(self, node: Node) -> None:
        """Note a node and those above it, once each, parents first."""
        unknown = []
        at: Node | None = node
        while at is not None and at not in self._known:
            unknown.append(at)
            at = at.parent
        for each in reversed(unknown):
            self._known.add(each)
            self._write(["node", each.name, None if each.parent is None else each.parent.name, each.start])

    def _write(self, line: list[Any]) -> None:
        if self._file.closed:
            return
        data = orjson.dumps(line) + b"\n"
        self._bytes_count += len(data)
        if self._bytes_count > FILE_BYTES_MAX:
            self._carry_out(lambda: self._file.write(b'["full"]\n'))
            self.close()
            return
        self._carry_out(lambda: self._file.write(data))

    def _carry_out(self, write: Callable[[], object]) -> None:
        """Write; a disk that refuses ends the journal, and not what the fleet serves."""
        try:
            write()
        except OSError as fault:
            print(
                f"swarm: --journal {self._path}: {fault.strerror}: nothing more is recorded there",
                file=sys.stderr,
                flush=True,
            )
            with suppress(OSError):
                self._file.close()


def said(event: FirstToken | Finished | Refused) -> list[Any]:
    """Return an event as its line."""
    return [KINDS[type(event)], *(tuple(part) if isinstance(part, CacheUse) else part for part in event)]


def recorded(path: Path) -> list[list[Any]]:
    """Return what the fleet said, as its lines."""
    kinds = set(KINDS.values())
    return [line for line in _lines(path) if line[0] in kinds]


def replay(path: Path) -> list[list[Any]]:
    """Return what a fresh fleet says to the same requests at the same times, as lines."""
    lines = _lines(path)
    fleet = build_fleet(FleetConfig.model_validate(next(lines)[1]))
    nodes: dict[str | None, Node] = {}
    events: list[Event] = []
    for line in lines:
        match line:
            case ["node", name, parent, start]:
                nodes[name] = Node(name, nodes[parent] if parent is not None else None, start)
            case ["submit", at_s, request_id, session, node, length, output_tokens, *keep]:
                events += fleet.advance(at_s)
                prompt = Prompt(nodes[node], length)
                fleet.submit(FleetRequest(request_id, session, "", prompt, output_tokens, True, *keep), at_s)
            case ["recall", node, start, gone]:
                fleet.recall(nodes[node], start, [Gone(*each) for each in gone])
            case ["cancel", at_s, request_id]:
                events += fleet.advance(at_s)
                fleet.cancel(request_id, at_s)
            case ["clear", at_s]:
                events += fleet.advance(at_s)
                fleet.clear_caches(at_s)
    while (due_s := fleet.next_event_s()) is not None:
        events += fleet.advance(due_s)
    fleet.audit()
    return [orjson.loads(orjson.dumps(said(event))) for event in events if not isinstance(event, Tokens)]


def _lines(path: Path) -> Iterator[list[Any]]:
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return  # What a full disk took of the last line.
            yield orjson.loads(line)
