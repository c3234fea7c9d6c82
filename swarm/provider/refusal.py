"""Answers that say no, in OpenAI's error shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Fault(Exception):
    """Why a request is not served."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None
    allow: bytes | None = None
    """The method that would be served."""

    def body(self) -> bytes:
        """Return the error as JSON."""
        return orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": TYPES.get(self.status, "invalid_request_error"),
                    "param": self.param,
                    "code": self.code,
                }
            }
        )

    def headers(self) -> bytes:
        """Return the headers that go with it."""
        if self.allow is not None:
            return b"Allow: %b\r\n" % self.allow
        if self.retry_after_s is None:
            return b""
        # RFC 9110 10.2.3 has whole seconds; the second header is the one that OpenAI's own clients prefer.
        return b"Retry-After: %d\r\nretry-after-ms: %d\r\n" % (
            math.ceil(self.retry_after_s),
            math.ceil(1000 * self.retry_after_s),
        )


TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_overloaded",
}


def invalid(message: str, param: str | None = None) -> Fault:
    """Return the fault of a request that cannot be understood."""
    return Fault(400, message, param)
