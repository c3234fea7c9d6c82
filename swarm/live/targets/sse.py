"""Server-sent events, parsed on bytes however they are split (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_CR, _LF = b"\r\n"


class EventTooLarge(Exception):
    """An event passed its bound before it was complete."""


class EventDecoder:
    """Turns a byte stream into the data of its events; names, ids, comments and retry times are dropped."""

    __slots__ = (
        "_clean",
        "_event_bytes_max",
        "_lines",
        "_pending",
        "_pending_bytes",
        "_skip_newline",
        "_started",
    )

    def __init__(self, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._pending: list[bytes] = []
        """Pieces of a line whose end has not come."""
        self._lines: list[bytes] = []
        """Data lines of an event whose end has not come."""
        self._pending_bytes = 0
        self._skip_newline = False
        self._started = False
        self._clean = True
        """Between two events, with nothing kept."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that `data` completes."""
        if self._clean and data[:6] == b"data: " and data[-2:] == b"\n\n" and _CR not in data:
            # Nearly every read is whole events of one line each, mostly one.
            if len(data) > self._event_bytes_max:
                return self._feed_lines(data)
            self._started = True
            if data.find(_LF) == len(data) - 2:
                return [data[6:-2]]
            events = data[6:-2].split(b"\n\ndata: ")
            if data.count(_LF) == 2 * len(events):
                return events
        return self._feed_lines(data)

    def _feed_lines(self, data: bytes) -> list[bytes]:
        self._clean = False
        if self._skip_newline and data:
            self._skip_newline = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            # A newline in the next read may belong to a carriage return that ends this one.
            self._skip_newline = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._keep(data)
            self._pending.append(data)
            return []
        self._pending.append(data)
        lines = b"".join(self._pending).split(b"\n")
        self._pending = [lines.pop()]
        if not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        self._pending_bytes = sum(map(len, self._lines))
        events = []
        for line in lines:
            if not line:
                if self._lines:
                    events.append(b"\n".join(self._lines))
                    self._lines = []
                self._pending_bytes = 0
                continue
            name, _, value = line.partition(b":")
            if name == b"data":
                self._keep(value)
                self._lines.append(value.removeprefix(b" "))
        self._keep(self._pending[0])
        self._clean = not self._lines and not self._pending[0] and not self._skip_newline
        return events

    def _keep(self, data: bytes) -> None:
        self._pending_bytes += len(data)
        if self._pending_bytes > self._event_bytes_max:
            raise EventTooLarge(f"an event of over {self._event_bytes_max} bytes")
