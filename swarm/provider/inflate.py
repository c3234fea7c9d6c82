"""Bodies that come compressed."""

from __future__ import annotations

import zlib

from swarm.provider.refusal import Fault

WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""What zlib calls each coding: 16 more than its window for gzip's own frame."""


def inflated(body: bytes, coding: bytes, bytes_max: int) -> bytes:
    """Return a body without its coding; raises `Fault`."""
    if coding in (b"", b"identity"):
        return body
    if coding not in WINDOWS:
        raise Fault(
            415, f"Content-Encoding {coding[:40].decode(errors='replace')!r}: gzip or deflate is read"
        )
    parts: list[bytes] = []
    left = bytes_max
    try:
        while body:
            # A gzip file may have several members, one after the other (RFC 1952, 2.2).
            reader = zlib.decompressobj(WINDOWS[coding])
            part = reader.decompress(body, left + 1)
            left -= len(part)
            parts.append(part)
            if left < 0:
                raise Fault(413, f"a body of over {bytes_max} bytes, once inflated")
            if not reader.eof:
                raise zlib.error("it ends early")
            body = reader.unused_data
    except zlib.error as error:
        raise Fault(400, f"the body is not {coding.decode()}: {error}"[:200]) from None
    return b"".join(parts)
