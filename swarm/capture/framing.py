"""HTTP/1.1's framing (RFC 9112), as far as a relay needs it: heads, and where bodies end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

HEAD_BYTES_MAX = 64 * 1024
LINE_BYTES_MAX = 16 * 1024
"""Of a chunk's size with its extensions, and of a trailer."""
_END = re.compile(rb"\r?\n\r?\n")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_SIZE_BYTES_MAX = 18
_LENGTH = re.compile(rb"[0-9]{1,18}")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: |$)")
_VERSION = re.compile(rb"HTTP/1\.[01]")

Fields = list[tuple[bytes, bytes]]


class Malformed(Exception):
    """Bytes that are no HTTP/1.1, or that two readers could understand differently."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and the fields after it, in order."""

    start: bytes
    fields: Fields

    def get(self, name: bytes) -> bytes:
        """Return the values of a field, named in lower case, as one list; empty where there is none."""
        return b", ".join(value for key, value in self.fields if key.lower() == name)

    def has(self, name: bytes, value: bytes) -> bool:
        """Return whether a field lists a value, which is in lower case."""
        return value in (part.strip() for part in self.get(name).lower().split(b","))


def split_head(data: bytes) -> tuple[Head, int] | None:
    """Return a head and where it ends, or None while it is not whole; raises `Malformed`."""
    found = _END.search(data)
    if found is None:
        if len(data) > HEAD_BYTES_MAX:
            raise Malformed(f"over {HEAD_BYTES_MAX} bytes of headers")
        return None
    if found.start() > HEAD_BYTES_MAX:
        raise Malformed(f"over {HEAD_BYTES_MAX} bytes of headers")
    start, *lines = re.split(rb"\r?\n", data[: found.start()])
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or b"\r" in value or b"\0" in value:
            raise Malformed(f"a header line that is none: {line[:40]!r}")
        fields.append((name, value.strip(b" \t")))
    return Head(start, fields), found.end()


def request_line(head: Head) -> tuple[bytes, bytes]:
    """Return a request's method and its target; raises `Malformed`."""
    parts = head.start.split(b" ")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]) or not _VERSION.fullmatch(parts[2]) or not parts[1]:
        raise Malformed(f"not HTTP/1.1: {head.start[:40]!r}")
    return parts[0], parts[1]


def status_of(head: Head) -> int:
    """Return a response's status; raises `Malformed`."""
    found = _STATUS.match(head.start)
    if found is None:
        raise Malformed(f"not HTTP/1.1: {head.start[:40]!r}")
    return int(found[1])


class Body(Protocol):
    """A body of which the end is looked for."""

    is_over: bool

    def take(self, data: bytes, parts: list[bytes] | None) -> int:
        """Return how many bytes belong to it; add what they hold, without framing, to `parts`."""


class Sized:
    """A body of so many bytes; of none, it is over."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.is_over = size == 0

    def take(self, data: bytes, parts: list[bytes] | None) -> int:
        """Take up to what is left."""
        used = min(self._left, len(data))
        self._left -= used
        self.is_over = self._left == 0
        if parts is not None and used:
            parts.append(data[:used])
        return used


class UntilClose:
    """A body that ends with its connection."""

    is_over = False

    def take(self, data: bytes, parts: list[bytes] | None) -> int:
        """Take everything."""
        if parts is not None:
            parts.append(data)
        return len(data)


class Chunked:
    """A body in chunks (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the chunk that are still to come."""
        self._line = b""
        self._after_chunk = False
        """The line that follows ends a chunk, and is empty."""
        self._in_trailer = False
        self.is_over = False

    def take(self, data: bytes, parts: list[bytes] | None) -> int:
        """Take chunks up to the last one's end."""
        at, size = 0, len(data)
        if not (self._left or self._line or self._after_chunk or self._in_trailer):
            # Nearly every read of a stream is one whole chunk.
            end = data.find(b"\r\n", 0, _SIZE_BYTES_MAX)
            found = _SIZE.fullmatch(data, 0, end) if end > 0 else None
            if found and (left := int(found[0], 16)) and left == size - end - 4 and data.endswith(b"\r\n"):
                if parts is not None:
                    parts.append(data[end + 2 : -2])
                return size
        while at < size and not self.is_over:
            if self._left:
                part = data[at : at + self._left]
                if parts is not None:
                    parts.append(part)
                at += len(part)
                self._left -= len(part)
                self._after_chunk = not self._left
                continue
            end = data.find(b"\n", at)
            if (size if end < 0 else end) - at + len(self._line) > LINE_BYTES_MAX:
                raise Malformed(f"over {LINE_BYTES_MAX} bytes in a line of a chunk's framing")
            if end < 0:
                self._line += data[at:]
                return size
            line = (self._line + data[at:end]).removesuffix(b"\r")
            self._line, at = b"", end + 1
            self._take_line(line)
        return at

    def _take_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.is_over = not line
        elif self._after_chunk:
            if line:
                raise Malformed("a chunk that is longer than its size")
            self._after_chunk = False
        else:
            size = line.partition(b";")[0].strip(b" \t")
            if not _SIZE.fullmatch(size):
                raise Malformed(f"a chunk's size that is none: {size[:20]!r}")
            self._left = int(size, 16)
            self._in_trailer = not self._left


def request_body(head: Head) -> Body:
    """Return the body that a request announces; raises `Malformed`."""
    return _announced(head) or Sized(0)


def response_body(head: Head, status: int, method: bytes) -> Body:
    """Return the body that a response to a method announces (RFC 9112, 6.3); raises `Malformed`."""
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return Sized(0)
    return _announced(head) or UntilClose()


def _announced(head: Head) -> Body | None:
    coding, length = head.get(b"transfer-encoding").lower(), head.get(b"content-length")
    if coding:
        if length or coding.rpartition(b",")[2].strip() != b"chunked":
            raise Malformed("a body whose length is stated in two ways, or in none that is known")
        return Chunked()
    if length:
        # The same length twice is one (RFC 9112, 6.3).
        values = {part.strip() for part in length.split(b",")}
        if len(values) != 1 or not _LENGTH.fullmatch(found := values.pop()):
            raise Malformed(f"a Content-Length that is none: {length[:40]!r}")
        return Sized(int(found))
    return None
