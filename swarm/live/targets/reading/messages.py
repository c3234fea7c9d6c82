"""What the events of one stream of Anthropic's `/v1/messages` say.

A reply is whole after `message_stop`, with a stop reason that is one. Usage comes in `message_start` and in
every `message_delta`, each with what it knows: of each count the last one that is not 0 holds.
"""

from __future__ import annotations

from typing import Any

from swarm.live.targets.reading.complaint import complaint
from swarm.live.targets.reading.delta import DEPTH_MAX, Reading, bears
from swarm.live.targets.reading.usage import count_of, put, take_told_apart
from swarm.live.targets.turn import TurnResult

STOP = "message_stop"
_DELTAS = {
    "text_delta": ("text", False),
    "thinking_delta": ("thinking", True),
    "input_json_delta": ("partial_json", True),
}
"""The member of a delta that holds tokens, and whether an agent's next prompt leaves it out."""
_SILENT_DELTAS = ("signature_delta", "citations_delta")
_DELTA_MEMBERS = frozenset({"type", "index", "delta"})
_INPUT, _READ, _WRITTEN = "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"
_BY_TTL = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


class MessagesReading(Reading):
    """Reads the events of a message."""

    FIELD = b"event: content_block_delta\ndata: "
    REASON, END = "stop_reason", "a stop_reason"

    __slots__ = ("_counts",)

    def __init__(self, result: TurnResult) -> None:
        super().__init__(result)
        self.lacks = STOP
        self._counts: dict[str, int | None] = {}
        """The last counts above 0, or 0 where none was; None for what can be no count."""

    def _read(self, message: Any) -> None:
        kind = message["type"]
        if kind == "content_block_delta":
            self._take_delta(message)
        elif kind == "content_block_start":
            self._take_block(message["content_block"])
        elif kind == "message_start":
            self._take_message(message["message"])
        elif kind == "message_delta":
            self._take_end(message)
        elif kind == STOP:
            self.lacks = ""
            self.done = True
        elif kind not in ("ping", "content_block_stop"):
            said = complaint(message, is_reply=False)
            if said is not None:
                self._fail("stream_error", said)

    def _take_delta(self, message: dict[str, Any]) -> None:
        delta = message["delta"]
        kind = delta["type"]
        known = _DELTAS.get(kind)
        if known is None:
            # The API may add kinds; what holds text is a token of the model.
            self._bears = kind not in _SILENT_DELTAS and bears(delta, DEPTH_MAX)
            return
        member, is_aside = known
        text = delta[member]
        if text.__class__ is not str:
            raise ValueError(text)
        if text:
            self._bears = True
            self.member, self.is_aside = member, is_aside
            self.is_plain = len(delta) == 2 and _DELTA_MEMBERS.issuperset(message)
            if not is_aside:
                self.text = text

    def _take_block(self, block: dict[str, Any]) -> None:
        """Take the start of a block: a tool's name is a token, and some servers begin with text."""
        self._bears = bears(block, DEPTH_MAX)
        text = block.get("text")
        if block["type"] == "text" and text:
            self.text += text

    def _take_message(self, start: dict[str, Any]) -> None:
        for block in start.get("content") or ():
            bore = self._bears
            self._take_block(block)
            self._bears = self._bears or bore
        usage = start.get("usage")
        if usage:
            self._take_usage(usage)

    def _take_end(self, message: dict[str, Any]) -> None:
        usage = message.get("usage")
        if usage:
            self._take_usage(usage)
        reason = message["delta"].get("stop_reason")
        if reason:
            self._finish(reason)

    def _take_usage(self, usage: dict[str, Any]) -> None:
        """Put counts into the result: the prompt is what was read, what was written, and the rest."""
        result, counts = self._result, self._counts
        self._count(usage, (_INPUT, _READ, _WRITTEN))
        by_ttl = usage.get("cache_creation")
        if by_ttl:
            self._count(by_ttl, _BY_TTL)
        parts = [counts.get(name, 0) for name in (_INPUT, _READ, _WRITTEN)]
        known = [part for part in parts if part is not None]
        if _INPUT in counts and len(known) == len(parts):
            result.prompt_tokens = sum(known)
        result.cached_tokens = counts.get(_READ)
        put(result, None, usage.get("output_tokens"), None)
        # A server that does not tell TTLs apart knows the default alone.
        result.written_5m_tokens, result.written_1h_tokens = (
            (counts.get(name, 0) for name in _BY_TTL)
            if any(name in counts for name in _BY_TTL)
            else (counts.get(_WRITTEN), 0 if counts.get(_WRITTEN) is not None else None)
        )
        take_told_apart(usage, result)

    def _count(self, counted: dict[str, Any], names: tuple[str, ...]) -> None:
        for name in names:
            value = counted.get(name)
            if value is not None and ((count := count_of(value, self._result)) or not self._counts.get(name)):
                self._counts[name] = count
