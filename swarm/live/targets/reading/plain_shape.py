"""The shape of a server's ordinary events, learned from one that was decoded: the rest need no decoding.

Within a stream they differ in their text alone, from stream to stream also in the reply's id and time. An
event that has the bytes of the learned one before and behind the text is that same JSON, if the text between
is the inside of a JSON string: only that is looked at.
"""

from __future__ import annotations

import re

PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""ASCII that stands for itself in a JSON string."""
REST_MOST = 3
"""Events at the end of a read of many that may differ."""
_IDS = re.compile(rb"\d+(?:, ?\d+)*")
_LIST = re.compile(rb'"token_ids": ?\[(\d+(?:, ?\d+)*)\]')
_FORMS = (b'"%b":"', b'"%b": "')
"""How servers write a member with a text, up to the text."""
_STREAM = re.compile(rb'(data: \{"id": ?")[ !#-\[\]-~]+(".*"created": ?)[1-9]\d{0,17}([,}].*)', re.DOTALL)
_USUAL = (b"stop", b"length")
_NEVER = b"\r"
"""No event holds it: to the framing it is the end of a line."""


class PlainShape:
    """What stands around the text of an ordinary event."""

    __slots__ = (
        "_family",
        "_field",
        "_finish",
        "_frame",
        "_mark",
        "_next",
        "gap",
        "head",
        "is_aside",
        "lead",
        "tail",
        "trail",
    )

    def __init__(
        self, head: bytes, mark: bytes, tail: bytes, *, is_aside: bool, gap: bytes, field: bytes
    ) -> None:
        self._field = field
        """What is before the head in an event's framing."""
        self._frame = head[: len(head) - len(mark)]
        self._mark = mark
        """The last bytes of the head: the key of the text."""
        self.head, self.tail = head, tail
        """Before and behind the text."""
        self.gap = gap
        """Between the text and its token ids, where events have them; then the tail is behind the ids."""
        self.lead: bytes | tuple[bytes, ...] = field + head
        if gap or not mark:
            self.lead = ()  # No read begins with any of none.
        self.trail = tail + b"\n\n"
        """Before and behind the text in a read that is one event."""
        self._next = b""
        """From behind the text to the next event's key, in a read of several."""
        self._family: tuple[bytes, bytes, bytes] | None = None
        """The lead without the stream's id and time; none were looked for yet."""
        self._finish: tuple[bytes, bytes] | None = None
        """Between text and finish reason, and behind it; not looked for yet."""
        self.is_aside = is_aside
        """The text is no part of the reply."""

    def of_stream(self, body: bytes) -> PlainShape:
        """Return the shape with the id and the time of a read of another stream; this one if it differs."""
        if self._family is None:
            mine = _STREAM.fullmatch(self._field + self.head)
            self._family = (_NEVER, b"", b"") if mine is None else (mine[1], mine[2], mine[3])
        before, between, behind = self._family
        if not body.startswith(before):
            return self
        start = len(before)
        end = body.find(b'"', start)
        at = end + len(between)
        if end <= start or body[end:at] != between or body[start:end].strip(PLAIN):
            return self
        stop = body.find(behind[:1], at)
        created = body[at:stop]
        if not created.isdigit() or created[:1] == b"0" or not body.startswith(behind, stop):
            return self
        shape = PlainShape(
            body[6 : stop + len(behind)],
            self._mark,
            self.tail,
            is_aside=self.is_aside,
            gap=self.gap,
            field=self._field,
        )
        shape._finish = self._finish
        return shape

    def last(self, event: bytes) -> tuple[bytes, str] | None:
        """Return text and finish reason of an event that differs from this shape in its finish reason."""
        if self._finish is None:
            self._finish = _finish_of(self.tail)
        before, behind = self._finish
        if not event.endswith(behind) or not event.startswith(self.head):
            return None
        text, found, reason = event[len(self.head) : -len(behind)].partition(before)
        if not found or not text or text.strip(PLAIN) or reason not in _USUAL:
            return None
        return text, reason.decode()

    def ids_in(self, inside: bytes) -> bytes | None:
        """Return the token ids of an event that has `inside` between head and tail; None if it has none."""
        text, gap, ids = inside.partition(self.gap)
        return ids.replace(b" ", b"") if gap and is_plain(text) and _IDS.fullmatch(ids) else None

    def run(self, body: bytes) -> tuple[list[bytes], bytes]:
        """Return the texts of the events at the start of a read of whole events, and what is left of it.

        The read begins with this shape's lead.
        """
        parts = body.split(self._mark)
        step = self._next
        if not step:
            self._next = step = self.trail + self._field + self._frame
        width = -len(step)
        texts = [part[:width] for part in parts if part.endswith(step)]
        rest = parts[len(texts) + 1 :]
        # As none of the rest is among them, they are all that stand before it, behind the first frame.
        if len(rest) > REST_MOST:
            return [], body
        for part in rest:
            if part.endswith(step):
                return [], body
        if b"" in texts or b"".join(texts).translate(None, PLAIN):
            return [], body
        return texts, self._field + self._mark.join([self._frame, *rest])


UNKNOWN = PlainShape(_NEVER, b"", _NEVER, is_aside=False, gap=b"", field=b"data: ")
"""The shape of no event."""


class Learned:
    """The shape of the events that a server sent last."""

    __slots__ = ("shape",)

    def __init__(self) -> None:
        self.shape = UNKNOWN


def learn(
    event: bytes, member: str, *, is_aside: bool, has_ids: bool, field: bytes = b"data: "
) -> PlainShape | None:
    """Return the shape of an event that says nothing but the text of a member, and maybe its token ids.

    None if it cannot be told from this one. `field` is what stands before such events' JSON.
    """
    for form in _FORMS:
        mark = form % member.encode()
        start = event.find(mark) + len(mark)
        if start >= len(mark):
            end = event.find(b'"', start)
            if event.find(mark, start) >= 0 or b"\\" in event[start:end]:
                return None
            head, tail, gap = event[:start], event[end:], b""
            if has_ids:
                found = _LIST.search(tail)
                if found is None or event.count(b'"token_ids"') > 1:
                    return None
                gap, tail = tail[: found.start(1)], tail[found.end(1) :]
            return PlainShape(head, mark, tail, is_aside=is_aside, gap=gap, field=field)
    return None


def _finish_of(tail: bytes) -> tuple[bytes, bytes]:
    """Return what is before and behind a finish reason in a tail that has none yet; what nothing matches."""
    for name in (b'"finish_reason":', b'"finish_reason": '):
        before, null, behind = tail.partition(name + b"null")
        if null and b'"finish_reason"' not in before + behind:
            return before + name + b'"', b'"' + behind
    return _NEVER, _NEVER


def is_plain(text: bytes) -> bool:
    """Whether a text stands for itself in a JSON string."""
    if not text.strip(PLAIN):
        return True
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    return decoded.isprintable() and '"' not in decoded and "\\" not in decoded
