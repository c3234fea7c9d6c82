"""Heads of answers: status lines, dates, what browsers ask for, and the number that a request is known by."""

from __future__ import annotations

import os
import re
from email.utils import formatdate
from itertools import count
from time import time

REASONS = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
SHARED = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
"""Any page may read: the server keeps nothing of anyone's but emulated text (Fetch, 3.2)."""
METHODS = b"GET, HEAD, POST, DELETE, OPTIONS"
ID_FORM = re.compile(rb"[\x21-\x7e]{1,128}")
_START = os.urandom(6).hex()
_NUMBERS = count(1)


class _Clock:
    """The date as headers have it, made anew once a second."""

    def __init__(self) -> None:
        self.second = -1
        self.line = b""

    def date(self) -> bytes:
        """Return the line of a head (RFC 9110, 6.6.1)."""
        second = int(time())
        if second != self.second:
            self.second = second
            self.line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self.line


_clock = _Clock()


def request_id(headers: dict[bytes, bytes]) -> bytes:
    """Return the id that a client gave its request, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given if ID_FORM.fullmatch(given) else b"req_%b%010x" % (_START.encode(), next(_NUMBERS))


def preflight(headers: dict[bytes, bytes]) -> bytes:
    """Return what answers a browser that asks whether it may send a request."""
    asked = headers.get(b"access-control-request-headers", b"*")
    return (
        b"Access-Control-Allow-Methods: %b\r\nAccess-Control-Allow-Headers: %b\r\n"
        b"Access-Control-Max-Age: 600\r\nAllow: %b\r\n" % (METHODS, asked, METHODS)
    )


def head(status: int, fields: bytes, *, number: bytes, is_shared: bool) -> bytes:
    """Return the head of an answer; `fields` are its own lines, each with its end."""
    return b"HTTP/1.1 %d %b\r\n%b%b%bx-request-id: %b\r\nrequest-id: %b\r\n\r\n" % (
        status,
        REASONS[status],
        _clock.date(),
        fields,
        SHARED if is_shared else b"",
        number,
        number,
    )
