"""The answer to one attempt: a response read as an OpenAI event stream into a turn's result."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import monotonic

from swarm.config.target import Api, FailureClass, TimeoutConfig
from swarm.live.targets.connection import Connection, Headers
from swarm.live.targets.delta import Delta, EventError, decode
from swarm.live.targets.failure import Failure, of_status
from swarm.live.targets.reply import Reply
from swarm.live.targets.sse import EventDecoder, EventTooLarge
from swarm.live.targets.turn import TurnResult

ERROR_BODY_BYTES = 2048
_TYPE_LENGTH, _CODING_LENGTH = len(b"content-type"), len(b"content-encoding")
_NO_REASON = (b'"finish_reason":null', b'"finish_reason": null')
_REASON = re.compile(rb'"finish_reason": ?"([a-z_]+)"')
_QUOTE = ord('"')
_BRACE = ord("}")


def header(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header, named in lower case; empty if there is none."""
    return next((value for key, value in headers if key.lower() == name), b"")


class Answer:
    """Reads one response. Only events that do not look like the ones before them are decoded as JSON.

    What an ordinary delta looks like is learned from the last one that was decoded: the bytes of the key of
    its text, such as `"content":"`. An event with these bytes, and no quote right behind them, has a delta.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_done",
        "_error_body",
        "_last_delta",
        "_mark",
        "_on_first_token",
        "_problem",
        "_reply",
        "_timeouts",
        "failure",
        "headers",
        "result",
        "waiter",
    )

    def __init__(
        self,
        *,
        connection: Connection,
        result: TurnResult,
        timeouts: TimeoutConfig,
        event_bytes_max: int,
        api: Api,
        keep_reply: bool,
        on_first_token: Callable[[], None] | None = None,
    ) -> None:
        self._on_first_token = on_first_token
        self._connection = connection
        self._timeouts = timeouts
        self._decoder = EventDecoder(event_bytes_max)
        self._mark = b'"content":"' if api == "chat" else b'"text":"'
        self._reply = Reply(ids=api == "token_ids") if keep_reply else None
        self._last_delta = b""
        self._error_body = b""
        self._problem: EventError | None = None
        self._done = False
        self.result = result
        self.headers: Headers = []
        self.failure: Failure | None = None
        self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Headers, at: float) -> None:
        """Take status and headers from the connection."""
        self.result.http_status = status
        self.result.first_byte_s = at
        self.headers = headers
        if status == 200:
            kind = coding = b""
            for name, value in headers:
                # Most names have another length: no lowering for them.
                if len(name) == _TYPE_LENGTH and name.lower() == b"content-type":
                    kind = kind or value
                elif len(name) == _CODING_LENGTH and name.lower() == b"content-encoding":
                    coding = coding or value
            if not kind.lower().startswith(b"text/event-stream"):
                self._stop(
                    "malformed", f"content-type {kind.decode('latin-1')[:100]!r}, not text/event-stream"
                )
            elif coding.lower() not in (b"", b"identity"):
                self._stop(
                    "malformed", f"content-encoding {coding.decode('latin-1')[:100]!r} was not asked for"
                )

    def data(self, body: bytes, at: float, lag: float) -> None:
        """Take the body bytes of one read from the connection."""
        result = self.result
        if result.http_status != 200:
            self._error_body += body[: ERROR_BODY_BYTES - len(self._error_body)]
            return
        if lag > result.read_lag_s:
            result.read_lag_s = lag
        try:
            events = self._decoder.feed(body)
        except EventTooLarge as error:
            self._stop("too_large", str(error))
            return
        deltas = self._count_deltas(events)
        if deltas:
            self._note(deltas, at)
        if self._problem is not None:
            self._stop(self._problem.kind, self._problem.detail)

    def end(self, failure: Failure | None, at: float) -> None:
        """Take the end of the response from the connection."""
        result = self.result
        if result.http_status not in (None, 200) and (failure is None or not failure.stale):
            text = self._error_body.decode("utf-8", "replace")
            self.failure = Failure(of_status(result.http_status or 0), f"HTTP {result.http_status}: {text}")
        else:
            if self._last_delta and result.finish_reason is None:
                # The reason often rides on the last delta, which looked like any other.
                result.finish_reason = _finish_reason(self._last_delta)
            if not self._done:
                self.failure = failure
                if failure is None and result.finish_reason is None:
                    self.failure = Failure("truncated", "the stream ended without [DONE] and a finish reason")
        self._settle(at)

    def check(self, now: float) -> None:
        """End the attempt if one of its timeouts has passed."""
        timeouts, sent, last = self._timeouts, self._connection.sent_s, self.result.last_token_s
        if now - sent > timeouts.total_s:
            self._stop("timeout_total", f"not complete within {timeouts.total_s:g} s")
        elif last is None and now - sent > timeouts.first_token_s:
            self._stop("timeout_first_token", f"no token within {timeouts.first_token_s:g} s")
        elif last is not None and now - last > timeouts.between_tokens_s:
            self._stop(
                "timeout_between_tokens", f"nothing within {timeouts.between_tokens_s:g} s after a token"
            )

    def _note(self, deltas: int, at: float) -> None:
        result = self.result
        result.output_counted += deltas
        result.last_token_s = at
        if result.first_token_s is None:
            result.first_token_s = at
            if self._on_first_token is not None:
                self._on_first_token()
        if deltas == 1:
            result.token_times.append(at)
        else:
            result.token_times.extend([at] * deltas)
            result.merged_reads += 1

    def _count_deltas(self, events: list[bytes]) -> int:
        deltas = 0
        mark, reply = self._mark, self._reply
        width = len(mark)
        for event in events:
            place = event.rfind(mark) + width
            # Without the key, place is below the width. The last byte is a cheap sign of a whole object.
            if place >= width and event[-1] == _BRACE and event[place] != _QUOTE:
                deltas += 1
                self._last_delta = event
                if reply is not None:
                    reply.take(event, place)
            elif event and not self._done:
                try:
                    deltas += self._take_other(decode(event))
                except EventError as error:
                    self._problem = error
                    break
                mark = self._mark
                width = len(mark)
        return deltas

    def _take_other(self, delta: Delta) -> bool:
        """Take an event that was decoded as JSON; True if it has a delta."""
        result = self.result
        self._done = delta.done
        if delta.finish_reason is not None:
            result.finish_reason = delta.finish_reason
        if delta.prompt_tokens is not None:
            result.prompt_tokens = delta.prompt_tokens
        if delta.cached_tokens is not None:
            result.cached_tokens = delta.cached_tokens
        if delta.output_tokens is not None:
            result.output_tokens = delta.output_tokens
        if delta.by_tier is not None:
            result.by_tier, result.lost_to = delta.by_tier, delta.lost_to
        if not delta.has_content:
            return False
        if delta.mark is not None:
            self._mark = delta.mark
        if self._reply is not None:
            self._reply.take_decoded(delta)
        return True

    def _stop(self, kind: FailureClass, detail: str) -> None:
        """Give the attempt up; what is still to come on its connection is of no use."""
        if not self._done:
            self.failure = Failure(kind, detail)
        self._connection.abort()
        self._settle(monotonic())

    def _settle(self, at: float) -> None:
        result = self.result
        result.completed_s = at
        if result.output_tokens is None and result.output_counted:
            result.output_tokens = result.output_counted
        if self._reply is not None:
            result.reply = self._reply.text()
        if not self.waiter.done():
            self.waiter.set_result(None)


def _finish_reason(event: bytes) -> str | None:
    """Return the finish reason of a delta; the usual ways to write it need no decoding."""
    found = _REASON.findall(event)
    if len(found) == 1 and b"\\" not in event:
        return str(found[0], "ascii")
    if not found and any(nothing in event for nothing in _NO_REASON):
        return None
    return decode(event).finish_reason
