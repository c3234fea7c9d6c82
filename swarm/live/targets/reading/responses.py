"""What the events of one stream of OpenAI's `/v1/responses` say.

A reply is whole with `response.completed`, or with `response.incomplete` and a reason that is one.
"""

from __future__ import annotations

from typing import Any

from swarm.live.targets.reading.complaint import complaint, words
from swarm.live.targets.reading.delta import Reading
from swarm.live.targets.reading.usage import take_told_apart, take_usage

COMPLETED, INCOMPLETE = "response.completed", "response.incomplete"
_GIVEN_UP = ("response.failed", "response.cancelled", "error")
_TEXT = "response.output_text.delta"
_QUIET = ("response.created", "response.in_progress", "response.queued")


class ResponsesReading(Reading):
    """Reads the events of a response."""

    REASON, END = "status", "a response.completed"

    __slots__ = ()

    def _read(self, message: Any) -> None:
        kind = message["type"]
        if kind.__class__ is not str:
            raise ValueError(kind)
        if kind.endswith(".delta"):
            self._take_delta(kind, message["delta"])
        elif kind == "response.output_item.added":
            # The name of a call is the first that the model says of it.
            self._bears = bool(message["item"].get("name"))
        elif kind in (COMPLETED, INCOMPLETE):
            self._take_end(kind, message["response"])
        elif kind in _GIVEN_UP:
            response = message.get("response") or message
            self._fail("stream_error", words(response.get("error") or response))
        elif kind not in _QUIET:
            said = complaint(message, is_reply=kind.startswith("response."))
            if said is not None:
                self._fail("stream_error", said)

    def _take_delta(self, kind: str, delta: Any) -> None:
        if delta.__class__ is not str:
            # Sound and what is yet to come; a kind that is not known says nothing.
            return
        self._bears = bool(delta)
        if kind == _TEXT:
            self.text = delta

    def _take_end(self, kind: str, response: dict[str, Any]) -> None:
        usage = response.get("usage")
        if usage:
            take_usage(usage, self._result)
            details = usage.get("input_tokens_details")
            if details:
                take_told_apart(details, self._result)
        if response.get("error"):
            self._fail("stream_error", words(response["error"]))
        reason = response.get("status") or "completed"
        if kind == INCOMPLETE:
            reason = (response.get("incomplete_details") or {}).get("reason") or "incomplete"
        self._finish(reason)
        self.done = True
