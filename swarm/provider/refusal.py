"""Answers that say no, in the error shapes of OpenAI and of Anthropic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import orjson

Style = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Fault(Exception):
    """Why a request is not served."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None
    allow: bytes | None = None
    """The methods that would be served."""

    def body(self, style: Style = "openai", number: bytes = b"") -> bytes:
        """Return the error as JSON."""
        if style == "anthropic":
            error = {
                "type": ANTHROPIC_TYPES.get(self.status, "invalid_request_error"),
                "message": self.message,
            }
            return orjson.dumps({"type": "error", "error": error, "request_id": number.decode() or None})
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
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}


def invalid(message: str, param: str | None = None, code: str | None = None) -> Fault:
    """Return the fault of a request that cannot be understood."""
    return Fault(400, message, param, code)
