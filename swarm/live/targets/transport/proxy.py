"""The HTTP proxy before a server, if there is one: found in the environment, and asked for a tunnel."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from swarm.config.base_url import BaseUrl, base_url
from swarm.errors import ConfigError

ENVIRONMENT = "environment"
HEAD_BYTES_MAX = 16 * 1024
"""Of a proxy's answer to CONNECT."""
WORDS_CHARS_MAX = 200


class ProxyRefused(OSError):
    """The proxy opened no tunnel; the text has its words."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where connections go in place of the server."""

    host: str
    port: int
    authorization: bytes
    """The header's value; empty: none."""

    @property
    def url(self) -> str:
        """How it is shown: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def header(self) -> bytes:
        """The header line that names the user; empty: none."""
        return b"Proxy-Authorization: %b\r\n" % self.authorization if self.authorization else b""


def proxy_of(url: str, stated: str | None) -> Proxy | None:
    """Return the proxy to a URL's server; None where it is asked directly.

    `stated` is a proxy's URL, None for none, or "environment": what `https_proxy`, `http_proxy`, `all_proxy`
    and `no_proxy` say, as for curl. From the environment, this machine, private addresses and hosts of one
    word are asked directly: no proxy of an organisation knows them.

    Raises:
        ConfigError: The environment's proxy is none that is spoken to.
    """
    if stated is None:
        return None
    if stated != ENVIRONMENT:
        return _parsed(stated, "target.proxy")
    place = base_url(url)
    listed = getproxies_environment()
    scheme = "https" if place.secure else "http"
    name = scheme if listed.get(scheme) else "all"
    found = listed.get(name)
    if not found or _is_near(place) or proxy_bypass(f"{place.host}:{place.port}"):
        return None
    return _parsed(found, f"{name}_proxy")


def _parsed(text: str, source: str) -> Proxy:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port:
        raise ConfigError(
            f"{source} names a proxy that is no http://HOST:PORT ({parts.scheme}): name such a one, or set "
            "target.proxy: null to go past it"
        )
    user = unquote(parts.username or "")
    secret = f"{user}:{unquote(parts.password or '')}".encode() if user else b""
    return Proxy(parts.hostname, port, b"Basic " + b64encode(secret) if secret else b"")


def _is_near(place: BaseUrl) -> bool:
    try:
        address = ipaddress.ip_address(place.host)
    except ValueError:
        return "." not in place.host or place.host.endswith(".localhost")
    return address.is_private or address.is_loopback or address.is_link_local


async def open_tunnel(sock: socket.socket, proxy: Proxy, authority: bytes) -> None:
    """Ask a connected proxy for a way to `authority` (HOST:PORT).

    Raises:
        ProxyRefused: It opens none.
        OSError: The connection broke.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(
        sock, b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, proxy.header)
    )
    head = b""
    while b"\r\n\r\n" not in head:
        # Nothing follows the head of a tunnel before the client has spoken.
        data = await loop.sock_recv(sock, 4096)
        head += data
        if not data or len(head) > HEAD_BYTES_MAX:
            break
    status = head.partition(b"\r\n")[0].decode("latin-1")[:WORDS_CHARS_MAX]
    parts = status.split(" ")
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].startswith("2"):
        raise ProxyRefused(f"it opens no tunnel: {status or 'it closed the connection'}")
