"""The text of a reply, gathered from deltas without decoding each of them."""

from __future__ import annotations

import json

from swarm.live.targets.reading.complaint import loads
from swarm.live.targets.reading.delta import Reading


class ReplyText:
    """Pieces of a reply: the insides of JSON strings, or of lists of ids."""

    __slots__ = ("_ids", "pieces")

    def __init__(self, *, ids: bool) -> None:
        self._ids = ids
        self.pieces: list[bytes] = []
        """Texts that stand for themselves are added here as they came."""

    def take(self, reading: Reading) -> None:
        """Take the piece of the event that was read last."""
        if self._ids:
            if reading.ids:
                self.pieces.append(",".join(map(str, reading.ids)).encode())
        elif reading.text:
            # ASCII escapes let the halves of a surrogate pair meet that came in two deltas.
            self.pieces.append(json.dumps(reading.text)[1:-1].encode())

    def text(self) -> str | None:
        """Return the whole reply; None if the server sent none of it in a form that can be repeated."""
        if not self.pieces:
            return None
        if self._ids:
            return b",".join(self.pieces).decode()
        text: str = loads(b'"' + b"".join(self.pieces) + b'"')
        return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
