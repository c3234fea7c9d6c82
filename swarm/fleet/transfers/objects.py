"""What a load or store costs besides its bytes: it goes in objects, over streams that copy one at a time."""

from __future__ import annotations

import math


class Objects:
    """Objects of `object_bytes` over `streams`; each costs its stream `object_s`, then its bytes.

    A stream moves `stream_bytes_per_s` at most. Infinite `object_bytes`: all at once; infinite `streams`: one
    for each object.
    """

    __slots__ = (
        "bytes_per_s",
        "link_bytes_per_s",
        "object_bytes",
        "object_s",
        "stream_bytes_per_s",
        "streams",
    )

    def __init__(
        self,
        *,
        object_bytes: float,
        object_s: float,
        streams: float,
        stream_bytes_per_s: float,
        link_bytes_per_s: float = math.inf,
    ) -> None:
        self.link_bytes_per_s = link_bytes_per_s
        """Of what all streams cross; each moves no more than that."""
        stream_bytes_per_s = min(stream_bytes_per_s, link_bytes_per_s)
        self.object_bytes = object_bytes
        self.object_s = object_s
        self.streams = streams
        self.stream_bytes_per_s = stream_bytes_per_s
        self.bytes_per_s = math.inf
        """Most that all streams of one transfer move, each at work on an object or its cost all the time."""
        if object_bytes == math.inf:
            self.bytes_per_s = stream_bytes_per_s
        elif streams < math.inf and (object_s > 0.0 or stream_bytes_per_s < math.inf):
            self.bytes_per_s = streams * object_bytes / (object_s + object_bytes / stream_bytes_per_s)

    def within(self, link_bytes_per_s: float) -> Objects:
        """Return the same over a link."""
        return Objects(
            object_bytes=self.object_bytes,
            object_s=self.object_s,
            streams=self.streams,
            stream_bytes_per_s=self.stream_bytes_per_s,
            link_bytes_per_s=link_bytes_per_s,
        )

    def alone_s(self, bytes_count: float) -> float:
        """Return the seconds of a transfer that has the link for itself.

        The busiest stream copies ceil(objects / streams) of them, one after another; and nothing is faster
        than the link after the first object's cost.
        """
        if bytes_count <= 0.0:
            return 0.0
        size = self.object_bytes
        objects = 1.0 if size == math.inf else float(math.ceil(bytes_count / size))
        rounds = 1.0 if objects <= self.streams else float(math.ceil(objects / self.streams))
        busiest_bytes = bytes_count if size == math.inf else min(bytes_count, rounds * size)
        by_stream_s = rounds * self.object_s + busiest_bytes / self.stream_bytes_per_s
        return max(self.object_s + bytes_count / self.link_bytes_per_s, by_stream_s)

    def more_s(self, bytes_count: float) -> float:
        """Return what a transfer alone takes beyond its bytes at the rate of all streams or the link."""
        fluid_s = bytes_count / min(self.bytes_per_s, self.link_bytes_per_s)
        return max(0.0, self.alone_s(bytes_count) - fluid_s)
