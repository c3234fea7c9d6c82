"""An exchange as one line of a capture: whose it was, its times, its counts, hashes of its words."""

from __future__ import annotations

from array import array
from base64 import b64encode
from typing import Any

import orjson

from swarm.capture.agents import Agents, Remembered
from swarm.capture.asked import Asked, asked_of
from swarm.capture.exchange import BODY_BYTES_MAX, ID_BYTES_MAX, Exchange
from swarm.capture.replied import WINDOWS, Replied, Unreadable, inflated
from swarm.live.targets.turn import TurnResult
from swarm.workload.formats.agent_logs.bodies import written_of
from swarm.workload.formats.agent_logs.captured import SCHEMA
from swarm.workload.formats.agent_logs.content import Content

TYPES_MAX = 16


class Entries:
    """Writes exchanges as entries, in the order in which they ended."""

    def __init__(self, *, salt: bytes, keeps_content: bool) -> None:
        self._salt = salt
        self._keeps_content = keeps_content
        self._agents = Agents(salt)
        self._number = 0
        self._last = Content(0, array("q"))
        """Of the last entry that has hashes."""
        self._before: Remembered[str, tuple[int, array[int]]] = Remembered()
        """Of each agent: its last entry with hashes in this file, and they."""

    def begin_file(self) -> None:
        """Refer to nothing that stands in the file before."""
        self._before.clear()

    def entry(self, exchange: Exchange) -> dict[str, Any]:
        """Return the line of an exchange."""
        self._number += 1
        began, ended = exchange.started_s, exchange.ended_s
        entry: dict[str, Any] = {
            "schema": SCHEMA,
            "number": self._number,
            "api": exchange.api,
            "start_s": round(exchange.started_unix_s, 6),
            "asked_ms": _ms(exchange.asked_s, began),
            "first_byte_ms": _ms(exchange.first_byte_s, began),
            "end_ms": _ms(ended, began),
            "status": exchange.status,
            "outcome": exchange.outcome,
            "client": exchange.headers.get(b"user-agent", b"").decode("latin-1"),
        }
        if not exchange.is_whole:
            entry["outcome"] = "too_large" if exchange.outcome == "ok" else exchange.outcome
            return entry
        body = _plain(b"".join(exchange.asked), exchange.headers.get(b"content-encoding", b"").lower())
        asked = None if body is None else asked_of(exchange.api, body, self._salt)
        replied = Replied(exchange.api)
        if exchange.status == 200:
            try:
                replied.read(exchange)
            except Unreadable:
                entry["outcome"] = "unreadable"
        self._take_reply(exchange, replied, entry)
        if asked is not None:
            self._take_request(exchange, asked, replied, entry)
        if self._keeps_content:
            entry["request"] = None if body is None else body.decode(errors="replace")
            entry["response"] = b"".join(data for _, data in exchange.replied).decode(errors="replace")
        return entry

    def _take_reply(self, exchange: Exchange, replied: Replied, entry: dict[str, Any]) -> None:
        result = replied.result
        if entry["outcome"] == "ok" and exchange.status != 200:
            entry["outcome"] = "refused"
        elif entry["outcome"] == "ok" and replied.problem is not None:
            entry["outcome"] = replied.problem
        is_stream = exchange.reply_headers.get(b"content-type", b"").startswith(b"text/event-stream")
        entry |= {
            "is_stream": is_stream,
            "first_token_ms": _ms(result.first_token_s, exchange.started_s) if is_stream else None,
            "last_token_ms": _ms(result.last_token_s, exchange.started_s) if is_stream else None,
            "input_tokens": result.prompt_tokens,
            "read_tokens": result.cached_tokens,
            **_written(result, replied.usage),
            "output_tokens": result.output_tokens,
            "deltas": result.output_counted if is_stream else None,
            "stop": result.finish_reason,
            "output_types": list(replied.types)[:TYPES_MAX],
        }

    def _take_request(
        self, exchange: Exchange, asked: Asked, replied: Replied, entry: dict[str, Any]
    ) -> None:
        headers, secret = exchange.headers, exchange.secret
        whose, chain = self._agents.whose(headers, secret, asked, exchange.started_s, exchange.ended_s)
        self._agents.note_reply(
            headers,
            secret,
            whose,
            chain,
            response=replied.id,
            calls=replied.calls(),
            failed=entry["outcome"] != "ok",
        )
        entry |= {
            "model": asked.model,
            "session": whose.session,
            "agent": whose.agent,
            "parent": whose.parent,
            "kind": whose.kind[:ID_BYTES_MAX],
            "opened_by": asked.opened_by,
            "messages": asked.messages,
        }
        if asked.content is not None:
            self._last = asked.content
            entry |= self._hashes(whose.session, whose.agent, asked.content)

    def alone(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return an entry that refers to none before it: the first of a file; `begin_file` comes before."""
        if entry.get("base") is None:
            return entry
        return entry | self._hashes(entry["session"], entry["agent"], self._last)

    def _hashes(self, session: str, agent: str, content: Content) -> dict[str, Any]:
        """Return a prompt's hashes, without those that the entry before it has as well."""
        key = f"{session}\0{agent}"
        number, before = self._before.get(key, (0, array("q")))
        shared = _shared(before, content.ends)
        self._before.put(key, (self._number, content.ends))
        return {
            "content_bytes": content.bytes,
            "base": number or None,
            "shared": shared,
            "hashes": b64encode(content.ends[shared:].tobytes()).decode(),
        }


def _shared(before: array[int], ends: array[int]) -> int:
    """Return how many hashes two prompts have in common: each is of all before it, so that halves tell."""
    low, high = 0, min(len(before), len(ends))
    while low < high:
        middle = (low + high + 1) // 2
        if before[middle - 1] == ends[middle - 1]:
            low = middle
        else:
            high = middle - 1
    return low


def _written(result: TurnResult, usage: dict[str, Any]) -> dict[str, int | None]:
    if result.written_5m_tokens is not None or result.written_1h_tokens is not None:
        return {
            "written_tokens": (result.written_5m_tokens or 0) + (result.written_1h_tokens or 0),
            "written_1h_tokens": result.written_1h_tokens,
        }
    written = written_of(usage)
    return {"written_tokens": written if type(written) is int else None, "written_1h_tokens": None}


def _plain(body: bytes, coding: bytes) -> bytes | None:
    """Return a request's body without its coding; None where it cannot be read."""
    if coding in (b"", b"identity"):
        return body
    try:
        if coding == b"zstd":
            import pyarrow as pa

            with pa.input_stream(pa.BufferReader(body), compression="zstd") as stream:
                plain: bytes = stream.read(BODY_BYTES_MAX)
                return plain
        if coding in WINDOWS:
            return b"".join(data for _, data in inflated([(0.0, body)], WINDOWS[coding]))
    except (OSError, Unreadable):
        return None
    return None


def _ms(at_s: float | None, since_s: float) -> float | None:
    """Return milliseconds since a time; None where there was none."""
    return round((at_s - since_s) * 1e3, 3) if at_s else None


def line_of(entry: dict[str, Any]) -> bytes:
    """Return an entry as a line."""
    return orjson.dumps(entry) + b"\n"
