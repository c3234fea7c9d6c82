"""Why an attempt failed. A failure is data: it ends in the turn's result, not in an exception.

| class | what happened |
| --- | --- |
| http_429, http_4xx, http_5xx | the status of the response; http_other: 3xx, or an upgrade |
| refused, unreachable | the connection was refused; no address, no route |
| tls | the handshake failed, or encrypted data were wrong |
| reset | the server broke the connection off (RST) |
| truncated | the stream ended without a finish reason, or in the middle of a message |
| malformed | not HTTP, not an event stream, or an event that is not the JSON object it should be |
| stream_error | the server reported an error inside the stream, or gave the reply up (abort, error) |
| empty | the reply came to its end without a token, or a refusal |
| too_large | a header, an event or the whole response passed its bound |
| timeout_connect | no connection (with TLS) in time |
| timeout_first_token, timeout_between_tokens, timeout_total | the response was too slow |
| client_limit | this process may not open another connection: its own bound, or the system's on open files |
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.target import FailureClass


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt's failure."""

    kind: FailureClass
    detail: str
    stale: bool = False
    """A reused connection that broke before a byte of response: never the target's failure."""


def of_status(status: int) -> FailureClass:
    """Return the class of an HTTP status other than 200."""
    if status == 429:
        return "http_429"
    if 400 <= status < 500:
        return "http_4xx"
    return "http_5xx" if 500 <= status < 600 else "http_other"
