"""The shape of a stream's ordinary events, learned from one that was decoded: the rest need no decoding.

Within a stream they differ in their text alone. An event that has the bytes of the learned one before and
behind the text is that same JSON, if the text between is the inside of a JSON string: only that is looked at.
"""

from __future__ import annotations

import re

PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""ASCII that stands for itself in a JSON string."""
_STRING = re.compile(rb'(?:[^"\\]|\\.)*', re.DOTALL)
_IDS = re.compile(rb"\d+(?:, ?\d+)*")
_LIST = re.compile(rb'"token_ids": ?\[(\d+(?:, ?\d+)*)\]')
NEVER = b"\0"
"""No event begins or ends with it."""


class Shape:
    """What stands around the text of an ordinary event."""

    __slots__ = ("gap", "head", "is_aside", "lead", "tail", "text_from", "text_to", "trail")

    def __init__(self) -> None:
        self.head = self.tail = NEVER
        """Before and behind the text."""
        self.lead = self.trail = NEVER
        """The same with the framing of a read that is one event."""
        self.gap = b""
        """Between the text and its token ids, where events have them."""
        self.text_from = 0
        self.text_to = 0
        self.is_aside = False

    def learn(self, event: bytes, member: str, *, is_aside: bool) -> None:
        """Learn from an event that says nothing but the text of a member."""
        for mark in (b'"%b":"' % member.encode(), b'"%b": "' % member.encode()):
            if event.count(mark) == 1:
                start = event.index(mark) + len(mark)
                text = _STRING.match(event, start)
                assert text is not None
                self.head, self.tail = event[:start], event[text.end() :]
                self.lead, self.trail = b"data: " + self.head, self.tail + b"\n\n"
                self.text_from, self.text_to = start, -len(self.tail)
                self.is_aside = is_aside
                self.gap = b""
                return

    def learn_ids(self, event: bytes, member: str) -> None:
        """Learn from an event that says nothing but the text of a member and, behind it, its token ids."""
        self.learn(event, member, is_aside=False)
        found = _LIST.search(self.tail)
        if found is not None and self.tail.count(b'"token_ids"') == 1:
            self.gap, self.tail = self.tail[: found.start(1)], self.tail[found.end(1) :]
            self.lead = self.trail = NEVER
            self.text_to = -len(self.tail)

    def ids_in(self, inside: bytes) -> bytes | None:
        """Return the token ids of an event that has `inside` between head and tail; None if it has none."""
        text, gap, ids = inside.partition(self.gap)
        return ids.replace(b" ", b"") if gap and is_plain(text) and _IDS.fullmatch(ids) else None


def is_plain(text: bytes) -> bool:
    """Whether a text stands for itself in a JSON string."""
    if not text.strip(PLAIN):
        return True
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    return decoded.isprintable() and '"' not in decoded and "\\" not in decoded
