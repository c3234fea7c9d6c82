"""Server-sent events, parsed on bytes however they are split (WHATWG HTML, 9.2.6), and errors among them."""

from __future__ import annotations

import json
import re
from functools import lru_cache

_BOM = b"\xef\xbb\xbf"
_CR, _LF = b"\r\n"
_JSON_STARTS = (b"{", b"[")
_BAD_NAMES = ("error", "exception", "fail", "failed", "failure", "abort", "aborted", "cancelled")
_NO_ERROR = (b"null", b"none", b"false", b"0")
_FIELDS = (b"data", b"event", b"id", b"retry", b"")
_WORDS = re.compile("[^a-z]+")
WORDS_BYTES_MAX = 16 * 1024
"""Of comments, and of text without framing, that are kept to say what was wrong."""


class EventTooLarge(Exception):
    """An event passed its bound before it was complete."""


class ErrorEvent(bytes):
    """Data in which the framing itself says that the stream has failed: by its name, or as `error:`."""


class UnframedText(bytes):
    """Text that stands in the stream without any framing."""


class EventDecoder:
    """Turns a byte stream into the data of its events; ids and retry times are dropped.

    What a stream says of its own failure becomes the last event: an `ErrorEvent` for an event of that name,
    an `error:` line or a comment of that kind; an `UnframedText` for JSON that no field introduces.
    """

    __slots__ = (
        "_comments",
        "_event_bytes_max",
        "_lines",
        "_name",
        "_pending",
        "_pending_bytes",
        "_skip_newline",
        "_started",
        "_unframed",
        "is_clean",
        "is_over",
        "stray",
    )

    def __init__(self, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._pending: list[bytes] = []
        """Pieces of a line whose end has not come."""
        self._lines: list[bytes] = []
        """Data lines of an event whose end has not come."""
        self._name = b""
        self._comments = b""
        self._unframed = b""
        self._pending_bytes = 0
        self._skip_newline = False
        self._started = False
        self.is_clean = True
        """Between two events, with nothing kept."""
        self.is_over = False
        """The stream has said that it failed: nothing more is read."""
        self.stray = b""
        """The first line that is no field of an event, nor JSON."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that `data` completes."""
        if self.is_clean and data[:6] == b"data: " and data[-2:] == b"\n\n" and _CR not in data:
            # Nearly every read is whole events of one line each, mostly one.
            if len(data) > self._event_bytes_max:
                return self._feed_lines(data)
            self._started = True
            if data.find(_LF) == len(data) - 2:
                return [data[6:-2]]
            events = data[6:-2].split(b"\n\ndata: ")
            if data.count(_LF) == 2 * len(events):
                return events
        elif self.is_clean and data[:7] == b"event: " and len(data) <= self._event_bytes_max:
            named = _whole_named(data)
            if named is not None:
                self._started = True
                return named
        return self._feed_lines(data)

    def flush(self) -> list[bytes]:
        """Return the events that the stream's end completes: servers forget the last blank line."""
        if self.is_over or self.is_clean:
            return []
        events: list[bytes] = []
        line = b"".join(self._pending)
        self._pending = []
        self._pending_bytes = sum(map(len, self._lines))
        if line:
            self._take(line if self._started else line.removeprefix(_BOM), events)
        if not self.is_over:
            self._dispatch(events)
        if self._unframed and not self.is_over:
            self._end(events, UnframedText(self._unframed))
        return events

    def _feed_lines(self, data: bytes) -> list[bytes]:
        if self.is_over:
            return []
        self.is_clean = False
        if self._skip_newline and data:
            self._skip_newline = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            # A newline in the next read may belong to a carriage return that ends this one.
            self._skip_newline = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[bytes] = []
        self._pending.append(data)
        if b"\n" not in data:
            self._keep(data)
        else:
            lines = b"".join(self._pending).split(b"\n")
            self._pending = [lines.pop()]
            if not self._started:
                self._started = True
                lines[0] = lines[0].removeprefix(_BOM)
            self._pending_bytes = sum(map(len, self._lines)) + len(self._comments)
            for line in lines:
                if line:
                    self._take(line, events)
                else:
                    self._dispatch(events)
                if events and events[-1].__class__ is not bytes:
                    return events
            self._keep(self._pending[0])
        pending = self._pending[0] if self._started else self._pending[0].removeprefix(_BOM)
        if self._unframed or pending.startswith(_JSON_STARTS):
            self._look_for_json(self._unframed + b"".join(self._pending).removeprefix(_BOM), events)
            return events
        if not self._name and _is_done(self._lines, pending):
            # It is over, whether or not the rest of its framing comes.
            self._lines, self._pending = [], [b""]
            self._pending_bytes = 0
            events.append(b"[DONE]")
            return events
        self.is_clean = not (
            self._lines or self._pending[0] or self._skip_newline or self._name or self._comments
        )
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        name, colon, value = line.partition(b":")
        if name == b"data":
            self._keep(value)
            self._lines.append(value.removeprefix(b" "))
        elif name == b"event":
            self._name = value.strip()
        elif not name and colon:
            if _is_error_comment(value):
                self._end(events, ErrorEvent(value.strip()))
            elif len(self._comments) < WORDS_BYTES_MAX:
                self._comments += value + b"\n"
        elif colon and name.strip().lower() == b"error":
            if value.strip().lower() not in _NO_ERROR:
                self._end(events, ErrorEvent(value.strip()))
        elif self._unframed or line.startswith(_JSON_STARTS):
            self._unframed += line + b"\n"
            self._look_for_json(self._unframed, events)
        elif not self.stray and name not in _FIELDS:
            self.stray = line[:WORDS_BYTES_MAX]

    def _dispatch(self, events: list[bytes]) -> None:
        name, lines = self._name, self._lines
        self._pending_bytes = 0
        if name and _is_bad(name):
            words = b"\n".join(lines) or self._comments.strip() or b"event: " + name
            self._end(events, ErrorEvent(words))
        elif lines:
            events.append(b"\n".join(lines))
            self._lines = []
        self._name = self._comments = b""

    def _look_for_json(self, text: bytes, events: list[bytes]) -> None:
        """End the stream once a whole JSON value stands in it without framing."""
        if len(text) >= WORDS_BYTES_MAX or starts_with_json(text):
            self._end(events, UnframedText(text))

    def _end(self, events: list[bytes], last: bytes) -> None:
        events.append(last)
        self.is_over = True
        self.is_clean = False
        self._pending, self._lines = [], []

    def _keep(self, data: bytes) -> None:
        self._pending_bytes += len(data)
        if self._pending_bytes > self._event_bytes_max:
            raise EventTooLarge(f"an event of over {self._event_bytes_max} bytes")


def starts_with_json(text: bytes) -> bool:
    """Whether a whole object or list of JSON stands at a text's start, whatever follows it."""
    try:
        json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _is_done(lines: list[bytes], pending: bytes) -> bool:
    """Whether an event whose end has not come is the [DONE] of a stream."""
    if not lines:
        return pending.startswith(b"data:") and pending[5:].strip() == b"[DONE]"
    return not pending and len(lines) == 1 and lines[0].strip() == b"[DONE]"


def _whole_named(data: bytes) -> list[bytes] | None:
    """Return the data of events that are a name and one line each; None where they are anything else."""
    if data[-2:] != b"\n\n" or _CR in data:
        return None
    events = []
    for event in data[:-2].split(b"\n\n"):
        name, found, line = event.partition(b"\ndata: ")
        if not found or name[:7] != b"event: " or _LF in line or b"\n" in name or _is_bad(name[7:].strip()):
            return None
        events.append(line)
    return events


@lru_cache(maxsize=64)
def _is_bad(name: bytes) -> bool:
    text = name.decode("utf-8", "replace").lower()
    return text.startswith("error") or _WORDS.split(text)[-1] in _BAD_NAMES


def _is_error_comment(value: bytes) -> bool:
    """Whether a comment is an error: it begins with the word, or is JSON that has it as a member."""
    text = value.strip().lower()
    return text.startswith((b"error:", b"error ", b"event: error")) or (
        text.startswith(b"{") and b'"error"' in text
    )
