"""What a reply says: its counts, its times, what the model called. Its words are let go of."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from swarm.capture.exchange import BODY_BYTES_MAX, Exchange
from swarm.config.target import Api
from swarm.live.targets.reading.readings import READINGS
from swarm.live.targets.reading.responses import COMPLETED
from swarm.live.targets.reading.sse import EventDecoder, EventTooLarge
from swarm.live.targets.turn import TurnResult
from swarm.workload.formats.agent_logs.documents import first_of, inside, text

EVENT_BYTES_MAX = 16 * 1024**2
WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
CALLS_MAX = 256


class Unreadable(Exception):
    """A reply that is not what its headers say."""


class Replied:
    """A reply, read from its events or from its one body."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.result = TurnResult()
        self._reading = READINGS[api](self.result)
        self.usage: dict[str, Any] = {}
        """As the server wrote it, of each count the last."""
        self.id = ""
        self.types: dict[str, None] = {}
        """Of what is in it, in the order in which it came."""
        self._calls: dict[str, list[str]] = {}
        """Of each call of a tool: its name, and pieces of its arguments."""

    @property
    def problem(self) -> str | None:
        """The class of what the server says went wrong, or None."""
        return None if self._reading.problem is None else self._reading.problem.kind

    def calls(self) -> Iterator[tuple[str, Any]]:
        """Yield the tools that the model called, each with its arguments."""
        for name, *pieces in self._calls.values():
            try:
                yield name, orjson.loads("".join(pieces))
            except orjson.JSONDecodeError:
                continue

    def read(self, exchange: Exchange) -> None:
        """Take all of a reply; raises `Unreadable`."""
        kind = exchange.reply_headers.get(b"content-type", b"").lower()
        parts = _decoded(exchange.replied, exchange.reply_headers.get(b"content-encoding", b"").lower())
        if kind.startswith(b"text/event-stream"):
            self._read_events(parts)
            return
        body = b"".join(data for _, data in parts)
        if exchange.outcome != "ok":
            # One that was cut off has counted nothing yet.
            return
        self._take(self._as_event(body), exchange.ended_s)

    def _read_events(self, parts: Iterable[tuple[float, bytes]]) -> None:
        decoder = EventDecoder(EVENT_BYTES_MAX)
        at_s = 0.0
        try:
            for at_s, data in parts:
                for event in decoder.feed(data):
                    self._take(event, at_s)
            for event in decoder.flush():
                self._take(event, at_s)
        except EventTooLarge as fault:
            raise Unreadable(str(fault)) from None

    def _take(self, event: bytes, at_s: float) -> None:
        result = self.result
        if self._reading.take(event):
            result.output_counted += 1
            result.last_token_s = at_s
            if result.first_token_s is None:
                result.first_token_s = at_s
        if event == b"[DONE]":
            return
        try:
            said = orjson.loads(event)
        except orjson.JSONDecodeError:
            return
        if type(said) is dict:
            self._look_at(said)

    def _look_at(self, said: dict[str, Any]) -> None:
        for part in (said, said.get("message"), said.get("response")):
            if type(part) is dict:
                self.id = self.id or text(part, "id")
                if type(part.get("usage")) is dict:
                    self.usage |= {name: value for name, value in part["usage"].items() if value is not None}
        kind = text(said, "type")
        for choice in _list(said, "choices"):
            self._look_at_choice(first_of(choice, "delta", "message") or choice)
        if kind == "message_start":
            for block in _list(said, "message", "content"):
                self._look_at_block(f"whole {len(self.types)} {len(self._calls)}", block)
        elif kind == "content_block_start":
            self._look_at_block(str(said.get("index")), said.get("content_block"))
        elif kind == "content_block_delta":
            call = self._calls.get(str(said.get("index")))
            if call is not None:
                call.append(text(said.get("delta"), "partial_json"))
        elif kind == "response.output_item.done":
            self._look_at_item(said.get("item"))
        elif kind == COMPLETED and not self.types:
            for item in _list(said, "response", "output"):
                self._look_at_item(item)

    def _look_at_choice(self, delta: Any) -> None:
        if type(delta) is not dict:
            return
        if text(delta, "content", "text"):
            self.types["text"] = None
        if text(delta, "reasoning_content", "reasoning"):
            self.types["thinking"] = None
        for call in _list(delta, "tool_calls"):
            self.types["tool_use"] = None
            place = str(call.get("index", len(self._calls))) if type(call) is dict else ""
            self._call(place, text(inside(call, "function"), "name"), _raw(call, "function", "arguments"))

    def _look_at_block(self, place: str, block: Any) -> None:
        kind = text(block, "type")
        if kind:
            self.types[kind] = None
        if kind == "tool_use":
            asked = block.get("input")
            self._call(place, text(block, "name"), orjson.dumps(asked).decode() if asked else "")

    def _look_at_item(self, item: Any) -> None:
        kind = text(item, "type")
        self.types[
            {"message": "text", "reasoning": "thinking", "function_call": "tool_use"}.get(kind, kind)
        ] = None
        if kind == "function_call":
            self._call(str(len(self._calls)), text(item, "name"), _raw(item, "arguments"))

    def _call(self, place: str, name: str, arguments: str) -> None:
        if place in self._calls:
            self._calls[place].append(arguments)
        elif len(self._calls) < CALLS_MAX:
            self._calls[place] = [name, arguments]

    def _as_event(self, body: bytes) -> bytes:
        """Return a whole body as the one event of a stream that says the same."""
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Unreadable("a body that is neither JSON nor a stream of events") from None
        if type(said) is not dict:
            raise Unreadable("a body that is no JSON object")
        if self._api == "messages":
            end = {"stop_reason": said.get("stop_reason")}
            self._take(orjson.dumps({"type": "message_start", "message": said}), 0.0)
            self._take(orjson.dumps({"type": "message_delta", "delta": end}), 0.0)
            self.result.first_token_s = self.result.last_token_s = None
            return b'{"type":"message_stop"}'
        if self._api == "responses":
            return orjson.dumps({"type": COMPLETED, "response": said})
        return body


def _list(source: Any, *names: str) -> list[Any]:
    """Return the list at a path of fields; an empty one where there is none."""
    found = inside(source, *names)
    return found if type(found) is list else []


def _raw(source: Any, *names: str) -> str:
    """Return a text as it is, whatever it holds."""
    for name in names:
        source = source.get(name) if type(source) is dict else None
    return source if type(source) is str else ""


def _decoded(parts: list[tuple[float, bytes]], coding: bytes) -> Iterable[tuple[float, bytes]]:
    if coding in (b"", b"identity"):
        return parts
    if coding not in WINDOWS:
        raise Unreadable(f"content-encoding {coding.decode('latin-1')!r}")
    return inflated(parts, WINDOWS[coding])


def inflated(parts: list[tuple[float, bytes]], window: int) -> Iterator[tuple[float, bytes]]:
    """Yield parts without their coding, with the times at which they came; raises `Unreadable`."""
    reader = zlib.decompressobj(window)
    size = 0
    for at_s, data in parts:
        try:
            plain = reader.decompress(data, BODY_BYTES_MAX - size + 1)
        except zlib.error as fault:
            raise Unreadable(str(fault)) from None
        size += len(plain)
        if size > BODY_BYTES_MAX:
            raise Unreadable(f"over {BODY_BYTES_MAX} bytes once inflated")
        if plain:
            yield at_s, plain
