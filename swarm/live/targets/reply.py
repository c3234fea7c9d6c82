"""The text of a reply, gathered from deltas without decoding each of them."""

from __future__ import annotations

import json

from swarm.live.targets.delta import REPLY_FIELDS, TEXT_FIELDS, Delta, decode, loads

_IDS = b'"token_ids":'
_REASONING = tuple(
    f'"{field}":{space}"'.encode()
    for field in TEXT_FIELDS
    if field not in REPLY_FIELDS
    for space in ("", " ")
)


class Reply:
    """Pieces of a reply as they stand in the events: the insides of JSON strings, or of lists of ids."""

    __slots__ = ("_ids", "_pieces")

    def __init__(self, *, ids: bool) -> None:
        self._ids = ids
        self._pieces: list[bytes] = []

    def take(self, event: bytes, place: int) -> None:
        """Take the piece of an event whose text starts at `place`."""
        if self._ids:
            start = event.find(b"[", event.find(_IDS) + len(_IDS))
            if _IDS in event:
                self._pieces.append(event[start + 1 : event.find(b"]", start)])
            return
        piece = event[place : event.find(b'"', place)]
        if b"\\" in piece or event.endswith(_REASONING, 0, place):
            # The quote may be an escaped one; and reasoning is no part of a reply.
            self.take_decoded(decode(event))
        else:
            self._pieces.append(piece)

    def take_decoded(self, delta: Delta) -> None:
        """Take the piece of an event that was decoded."""
        if self._ids:
            if delta.token_ids:
                self._pieces.append(",".join(map(str, delta.token_ids)).encode())
        elif delta.text:
            # ASCII escapes let the halves of a surrogate pair meet that came in two deltas.
            self._pieces.append(json.dumps(delta.text)[1:-1].encode())

    def text(self) -> str | None:
        """Return the whole reply; None if the server sent none of it in a form that can be repeated."""
        if not self._pieces:
            return None
        if self._ids:
            return b",".join(self._pieces).replace(b" ", b"").decode()
        text: str = loads(b'"' + b"".join(self._pieces) + b'"')
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
