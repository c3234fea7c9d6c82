"""The server behind the proxy: its address, and how a request's head is written for it."""

from __future__ import annotations

import ssl

from swarm.capture.framing import Head
from swarm.config.base_url import base_url
from swarm.errors import UsageError
from swarm.live.targets.transport.dial import Dialler, Origin
from swarm.live.targets.transport.proxy import ENVIRONMENT, proxy_of
from swarm.live.targets.transport.tls import client_context

READABLE = (b"gzip", b"x-gzip", b"deflate", b"identity")
"""Codings of replies that can be read; others are not asked for."""


class Upstream:
    """Where requests go."""

    def __init__(self, url: str, *, ca_file: str | None) -> None:
        try:
            place = base_url(url)
        except ValueError as fault:
            raise UsageError(f"--upstream: {str(fault).removeprefix('urls: ')}") from None
        if place.query:
            raise UsageError("--upstream: a base URL is expected, without a query")
        self.shown = place.origin + place.path
        self.is_secure = place.secure
        self._path = place.path.encode()
        origin = Origin(place.secure, place.host, place.port)
        self._authority = origin.authority
        context: ssl.SSLContext | None = client_context(ca_file, verify=True) if place.secure else None
        # A plain request to a proxy would need its whole URL: tunnels alone are asked for.
        proxy = proxy_of(url, ENVIRONMENT) if place.secure else None
        self.dialler = Dialler(origin=origin, context=context, proxy=proxy)

    def head(self, method: bytes, target: bytes, head: Head, *, is_read: bool) -> bytes:
        """Return a request's head as it goes on: for this server, and else as it came.

        `is_read`: the reply is to be read as well, so that only codings are asked for which can be.
        """
        if self._path and not (target + b"/").startswith((self._path + b"/", self._path + b"?")):
            target = self._path + target
        lines = [b"%b %b %b" % (method, target, head.start.rpartition(b" ")[2])]
        has_host = False
        for name, value in head.fields:
            lower = name.lower()
            if lower == b"host":
                has_host, value = True, self._authority
            elif lower == b"accept-encoding" and is_read:
                value = _readable(value)
            lines.append(b"%b: %b" % (name, value))
        if not has_host:
            lines.insert(1, b"Host: " + self._authority)
        return b"\r\n".join(lines) + b"\r\n\r\n"


def _readable(value: bytes) -> bytes:
    found = [part.strip() for part in value.split(b",")]
    return b", ".join(part for part in found if part.partition(b";")[0].lower() in READABLE) or b"identity"
