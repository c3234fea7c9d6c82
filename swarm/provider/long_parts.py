"""A request's JSON without its long parts: they are lifted out and never decoded.

A prompt of 128k tokens is half a megabyte of JSON in a few strings, or one list of numbers. Strings that
hold no escape are their own content, and a list of equally wide ids becomes an array in a few passes, so
that the JSON that is left to parse is a page. What does not fit these patterns is parsed as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

WINDOW_BYTES = 8192
"""Strings of twice this length are lifted wherever they lie; shorter ones are decoded sooner than found."""
_IDS = re.compile(rb'"prompt"\s*:\s*\[')
_ID_CELL = np.dtype([("digits", "<u4"), ("comma", "u1")])
_SPACE, _COMMA = 0x20, 0x2C


@dataclass(frozen=True, slots=True)
class Lifted:
    """A value taken out of a body: UTF-8 of a string, or ids of 4 bytes each."""

    content: bytes | memoryview
    is_ids: bool


def loads(body: bytes) -> tuple[Any, list[Lifted]]:
    """Return the JSON value of a body, in which `mark(i)` stands for the i-th lifted value.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    # A body without a backslash cannot hold the marks, which are written with one, nor a quote in a string.
    if len(body) < 2 * WINDOW_BYTES or b"\\" in body or not body.isascii() or _has_controls(body):
        return orjson.loads(body), []
    parts = _without_ids(body)
    if parts is None:
        parts = _without_strings(body)
    if parts is None:
        return orjson.loads(body), []
    rest, lifted = parts
    return orjson.loads(rest), lifted


def _has_controls(body: bytes) -> bool:
    """Return whether there are control characters, which strings must escape (RFC 8259, 7)."""
    return bool(np.frombuffer(body, dtype=np.uint8).min() < _SPACE)


def mark(place: int) -> str:
    """Return the string that stands for a lifted value."""
    return f"\x00{place}"


def _without_strings(body: bytes) -> tuple[bytes, list[Lifted]] | None:
    """Lift every string that has a whole window of the body inside it."""
    view = memoryview(body)
    rest: list[bytes] = []
    lifted: list[Lifted] = []
    kept = quotes = at = 0
    while at + WINDOW_BYTES <= len(body):
        if body.find(b'"', at, at + WINDOW_BYTES) >= 0:
            at += WINDOW_BYTES
            continue
        start, end = body.rfind(b'"', kept, at) + 1, body.find(b'"', at + WINDOW_BYTES)
        if not start or end < 0:
            return None
        quotes += body.count(b'"', kept, start)
        if quotes % 2:
            rest.append(body[kept:start] + b"\\u0000%d" % len(lifted))
            lifted.append(Lifted(view[start:end], False))
            kept = end
        else:
            quotes -= body.count(b'"', kept, start)
        at = end
    return (b"".join([*rest, body[kept:]]), lifted) if lifted else None


def _without_ids(body: bytes) -> tuple[bytes, list[Lifted]] | None:
    found = _IDS.search(body, 0, 4096)
    if found is None or body.count(b'"', 0, found.start()) % 2:
        return None
    start = found.end()
    end = body.find(b"]", start)
    ids = None if end < 0 else _four_digits(body[start:end])
    if ids is None:
        return None
    return body[: start - 1] + b'"\\u00000"' + body[end + 1 :], [Lifted(ids, True)]


def _four_digits(text: bytes) -> bytes | None:
    """Return the ids of a list in which each has exactly four digits, else None."""
    if len(text) % _ID_CELL.itemsize != _ID_CELL.itemsize - 1:
        return None
    cells = np.frombuffer(text + b",", dtype=_ID_CELL)
    digits = cells["digits"] - np.uint32(0x30303030)
    # Each byte is a digit if it is below 10, and so below 128 after adding 118 to it as well.
    wrong = (digits | (digits + np.uint32(0x76767676))) & np.uint32(0x80808080)
    if wrong.any() or (cells["comma"] != _COMMA).any() or not (digits & np.uint32(0xFF)).all():
        return None
    # The first digit is the lowest byte: 10 a + b in each half, then 100 times one and the other.
    pairs = (digits * np.uint32(10) + (digits >> np.uint32(8))) & np.uint32(0x00FF00FF)
    ids = (pairs * np.uint32(100) + (pairs >> np.uint32(16))) & np.uint32(0xFFFF)
    return ids.astype(np.uint32, copy=False).tobytes()
