"""Server-sent events, as chunks of HTTP where those may be sent."""

from __future__ import annotations

from typing import Any

import orjson

END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
TEXT_MARK, ID_MARK = "\x00", 2**53 - 1
"""Stand for a token's text and id while the template of an event is made."""


def event(data: Any, name: str = "") -> bytes:
    """Return an event."""
    named = b"event: %b\n" % name.encode() if name else b""
    return b"%bdata: %b\n\n" % (named, orjson.dumps(data))


def framed(data: bytes, is_chunked: bool) -> bytes:
    """Return bytes as they are sent."""
    return b"%x\r\n%b\r\n" % (len(data), data) if is_chunked and data else data


def template(data: bytes, is_chunked: bool, *, text_bytes: int, id_digits: int = 0) -> bytes:
    """Return an event that holds the marks as a template of its frame; all that it makes have one length."""
    made = data.replace(b"%", b"%%")
    for mark in (orjson.dumps(TEXT_MARK)[1:-1], b"%d" % ID_MARK):
        made = made.replace(mark, b"%b")
    if not is_chunked:
        return made
    length = len(made % ((b"",) * (2 if id_digits else 1))) + text_bytes + id_digits
    return b"%x\r\n%b\r\n" % (length, made)
