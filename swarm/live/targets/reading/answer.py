"""The answer to one attempt: a response read as an OpenAI event stream into a turn's result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from swarm.config.target import Api, FailureClass, TimeoutConfig
from swarm.live.targets.failure import Failure, of_status
from swarm.live.targets.reading.complaint import of_text
from swarm.live.targets.reading.finish import REFUSED
from swarm.live.targets.reading.plain_shape import PLAIN, Learned, is_plain, learn
from swarm.live.targets.reading.readings import READINGS
from swarm.live.targets.reading.reply import ReplyText
from swarm.live.targets.reading.sse import EventDecoder, EventTooLarge, starts_with_json
from swarm.live.targets.transport.connection import Connection, Headers
from swarm.live.targets.turn import TurnResult

BODY_BYTES_MAX = 16 * 1024
"""Of a body that is no event stream, kept to say what the server said."""
BODY_S_MAX = 5.0
"""How long such a body may take from its first byte."""
LINGER_S = 0.05
"""How long after [DONE] a response may take to end; then its connection is not used again."""
_TYPE_LENGTH, _CODING_LENGTH = len(b"content-type"), len(b"content-encoding")


def header(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header, named in lower case; empty if there is none."""
    return next((value for key, value in headers if key.lower() == name), b"")


class Answer:
    """Reads one response. Only events that do not look like the ones before them are decoded as JSON.

    A reply has finished if the server said so, with a finish reason that is one, no error in any framing, and
    a token or a refusal. Everything else ends the attempt with a failure.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_decoder",
        "_event_bytes_max",
        "_has_shape",
        "_ids",
        "_is_stream",
        "_learned",
        "_linger",
        "_on_first_token",
        "_over_s",
        "_reading",
        "_reply",
        "_shape",
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
        learned: Learned,
        linger: Callable[[Answer], None],
        on_first_token: Callable[[], None] | None = None,
    ) -> None:
        self._on_first_token = on_first_token
        self._learned = learned
        self._shape = learned.shape
        """Begins as that of the server's last stream, and is fitted to this one."""
        self._has_shape = False
        self._linger = linger
        """Asks for a check in about LINGER_S, and again until the answer is settled."""
        self._connection = connection
        self._timeouts = timeouts
        self._event_bytes_max = event_bytes_max
        self._decoder = EventDecoder(event_bytes_max)
        self._ids = api == "token_ids"
        self._reading = READINGS[api](result)
        self._reply = ReplyText(ids=self._ids) if keep_reply else None
        self._is_stream = False
        self._body = b""
        self._over_s: float | None = None
        """When the outcome was known, though the response went on."""
        self.result = result
        self.headers: Headers = []
        self.failure: Failure | None = None
        self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Headers, at: float) -> None:
        """Take status and headers from the connection."""
        self.result.http_status = status
        self.result.first_byte_s = at
        self.result.written_s = self._connection.written_s
        self.headers = headers
        if status == 200:
            kind = coding = b""
            for name, value in headers:
                # Most names have another length: no lowering for them.
                if len(name) == _TYPE_LENGTH and name.lower() == b"content-type":
                    kind = kind or value
                elif len(name) == _CODING_LENGTH and name.lower() == b"content-encoding":
                    coding = coding or value
            if coding.lower() not in (b"", b"identity"):
                self._stop("malformed", f"content-encoding {coding.decode('latin-1')!r} was not asked for")
            self._is_stream = kind.lower().startswith(b"text/event-stream")

    def data(self, body: bytes, at: float, lag: float) -> None:
        """Take the body bytes of one read from the connection."""
        result = self.result
        if not self._is_stream:
            self._take_body(body, at)
            return
        if self._over_s is not None:
            return
        if lag > result.read_lag_s:
            result.read_lag_s = lag
        shape = self._shape
        deltas = 0
        if not self._has_shape and not body.startswith(shape.lead):
            self._shape = shape = shape.of_stream(body)
        if body.startswith(shape.lead) and self._decoder.is_clean and len(body) <= self._event_bytes_max:
            if body.endswith(shape.trail):
                # Nearly every read is one event, like those before it.
                text = body[len(shape.lead) : -len(shape.trail)]
                if text and not text.strip(PLAIN):
                    if self._reply is not None and not shape.is_aside:
                        self._reply.pieces.append(text)
                    self._note(1, at)
                    return
            if body.endswith(b"\n\n"):
                texts, body = shape.run(body)
                deltas = len(texts)
                if deltas and self._reply is not None and not shape.is_aside:
                    self._reply.pieces += texts
        try:
            events = self._decoder.feed(body)
        except EventTooLarge as error:
            if deltas:
                self._note(deltas, at)
            self._stop("too_large", str(error))
            return
        self._take_events(events, at, deltas)

    def _take_events(self, events: list[bytes], at: float, deltas: int) -> None:
        """Count what bears tokens, beside deltas counted before; end the attempt if an event says so."""
        deltas += self._count_deltas(events, deltas)
        if deltas:
            self._note(deltas, at)
        reading = self._reading
        if reading.problem is not None:
            self._stop(reading.problem.kind, reading.problem.detail)
        elif reading.done:
            self._over_s = at
            failure = self._verdict()
            if failure is not None:
                self._stop(failure.kind, failure.detail)
            elif not self._connection.is_complete:
                self._linger(self)

    def end(self, failure: Failure | None, at: float) -> None:
        """Take the end of the response from the connection."""
        if self._over_s is None:
            try:
                self._end(failure, at)
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is this attempt's failure alone
                self.failure = _of_fault(fault)
        self._settle(at)

    def _end(self, failure: Failure | None, at: float) -> None:
        status = self.result.http_status
        if status is None or (failure is not None and failure.stale):
            self.failure = failure
        elif not self._is_stream:
            self.failure = self._refusal()
        else:
            was_done = self._reading.done  # Then the failure came before that was acted on.
            self._flush(at)
            problem = self._reading.problem
            if problem is not None and problem.kind == "malformed" and not self._decoder.is_over:
                problem = failure or Failure("truncated", f"the stream ended within {problem.detail}")
            if problem is None and (was_done or not self._reading.done):
                problem = failure
            self.failure = problem or self._verdict()

    def _flush(self, at: float) -> None:
        """Take what the end completes: servers forget the last blank line."""
        try:
            events = self._decoder.flush()
        except EventTooLarge:
            return
        deltas = self._count_deltas(events, 0)
        if deltas:
            self._note(deltas, at)

    def check(self, now: float) -> None:
        """End the attempt if one of its timeouts has passed."""
        timeouts, sent, last = self._timeouts, self._connection.sent_s, self.result.last_token_s
        if self.waiter.done():
            return
        if self._over_s is not None:
            if now - self._over_s >= LINGER_S:
                self._give_up()
            return
        status, first = self.result.http_status, self.result.first_byte_s
        if status is not None and not self._is_stream and first is not None:
            if now - first > BODY_S_MAX or now - sent > min(timeouts.first_token_s, timeouts.total_s):
                self._refuse()
        elif now - sent > timeouts.total_s:
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

    def _count_deltas(self, events: list[bytes], before: int) -> int:
        """Return how many events bear tokens; `before` of the same read were counted already."""
        deltas, result = 0, self.result
        shape, reply = self._shape, self._reply
        head, tail, text_from, text_to = shape.head, shape.tail, len(shape.head), -len(shape.tail)
        for event in events:
            if event.startswith(head) and event.endswith(tail):
                text = event[text_from:text_to]
                # Asked for inline first: a call costs as much as all the rest.
                if text and (not text.strip(PLAIN) or is_plain(text)):
                    deltas += 1
                    if reply is not None and not shape.is_aside:
                        reply.pieces.append(text)
                    continue
                if shape.gap and (ids := shape.ids_in(text)) is not None:
                    deltas += 1
                    if reply is not None:
                        reply.pieces.append(ids)
                    continue
            if not event:
                continue
            deltas += self._take_other(event, deltas + before + result.output_counted > 0)
            if self._reading.problem is not None or self._reading.done:
                break
            if shape is not self._shape:
                shape = self._shape
                head, tail, text_from, text_to = shape.head, shape.tail, len(shape.head), -len(shape.tail)
        return deltas

    def _take_other(self, event: bytes, has_spoken: bool) -> bool:
        """Take an event that does not have the learned shape; return whether it bears a token."""
        reading, reply = self._reading, self._reply
        reading.has_spoken = has_spoken
        last = self._shape.last(event)
        if last is not None:
            text, self.result.finish_reason = last
            if reply is not None and not self._shape.is_aside:
                reply.pieces.append(text)
            return True
        if not reading.take(event):
            return False
        if reply is not None:
            reply.take(reading)
        if reading.is_plain:
            shape = learn(
                event,
                reading.member,
                is_aside=reading.is_aside or self._ids,
                has_ids=bool(reading.ids),
                field=reading.FIELD,
            )
            if shape is not None:
                self._shape = self._learned.shape = shape
                self._has_shape = True
        return True

    def _verdict(self) -> Failure | None:
        """Return why the reply is not known to have finished; None if it is."""
        result = self.result
        reason = result.finish_reason
        if not reason:
            stray = self._decoder.stray
            words = f"; it said {stray.decode('utf-8', 'replace')}" if stray else ""
            end = ", but with [DONE]" if self._reading.done else ""
            return Failure("truncated", f"the stream ended without {self._reading.END}{end}{words}")
        if self._reading.lacks:
            return Failure("truncated", f"the stream ended without {self._reading.lacks}")
        if result.output_counted or result.output_tokens or reason.lower() in REFUSED:
            return None
        return Failure("empty", f"the reply ended with finish_reason {reason!r} and has no token")

    def _take_body(self, body: bytes, at: float) -> None:
        """Take bytes of a body that is no event stream."""
        if self._over_s is not None:
            return
        self._body += body[: BODY_BYTES_MAX - len(self._body)]
        if len(self._body) >= BODY_BYTES_MAX:
            self._refuse()
        elif not self._connection.is_complete and starts_with_json(self._body):
            self.failure = self._refusal()
            self._over_s = at
            self._linger(self)

    def _refuse(self) -> None:
        """End the attempt by what the body has said so far."""
        failure = self._refusal()
        self._stop(failure.kind, failure.detail)

    def _refusal(self) -> Failure:
        """Return the failure that a response is which is no event stream."""
        status = self.result.http_status
        text = self._body.decode("utf-8", "replace")
        if status != 200:
            place = header(self.headers, b"location").decode("latin-1")
            to = f" to Location: {place}" if place else ""
            return Failure(of_status(status or 0), f"HTTP {status}{to}: {text}")
        said = of_text(self._body)
        if said is not None:
            return Failure("stream_error", said)
        kind = header(self.headers, b"content-type").decode("latin-1")
        words = f": {text}" if text else ""
        return Failure("malformed", f"content-type {kind!r}, not text/event-stream{words}")

    def _stop(self, kind: FailureClass, detail: str) -> None:
        """Give the attempt up as failed."""
        self.failure = Failure(kind, detail)
        self._give_up()

    def _give_up(self) -> None:
        """End the attempt; what is still to come on its connection is of no use."""
        self._connection.abort()
        self._settle(monotonic())

    def _settle(self, at: float) -> None:
        if self.waiter.done():
            return
        result = self.result
        result.completed_s = at if self._over_s is None else self._over_s
        if self._reply is not None:
            try:
                result.reply = self._reply.text()
            except ValueError as fault:
                self.failure = self.failure or _of_fault(fault)
        self.waiter.set_result(None)


def _of_fault(fault: Exception) -> Failure:
    return Failure("malformed", f"the response could not be read: {type(fault).__name__}: {fault}")
