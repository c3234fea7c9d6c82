"""URLs of servers: where connections go, and which paths of theirs are meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_VERSION = re.compile(r"v\d+([a-z]+\d*)?")
"""A part of a path such as v1, v3, v1beta: where it stands the path is an API's root, as in OpenAI's SDKs."""
_ENDINGS = ("/chat/completions", "/completions", "/messages", "/responses")
_HOST = re.compile(r"[^\s/?#@\\]+")


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A server's URL in its parts."""

    secure: bool
    host: str
    port: int
    path: str
    """As it was given, without a slash at its end."""
    query: str
    """Of a whole URL, which is taken as it is; else empty."""

    @property
    def origin(self) -> str:
        """The URL up to its path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == (443 if self.secure else 80) else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{host}{port}"

    @property
    def server(self) -> str:
        """The path under which a server has its side doors, such as /metrics: what comes before a version."""
        root = self._root() or self.path
        parts = root.split("/")
        at = next((place for place, part in enumerate(parts) if _VERSION.fullmatch(part)), len(parts))
        return "/".join(parts[:at])

    def requests(self, ending: str, stated: str | None) -> str:
        """Return the path of requests: a whole URL's, the `stated` one, or the API's root and `ending`."""
        if self._root() is not None:
            return self.path + self.query
        return self.path + stated if stated is not None else self._api() + ending

    def models(self, stated: str | None) -> str:
        """Return the path of the list of models, beside that of requests."""
        path = self.path if stated is None else self.path + stated.partition("?")[0]
        root = _without_ending(path)
        return (self._api() if root is None else root) + "/models"

    def _root(self) -> str | None:
        """Return what comes before a whole URL's ending, or None where the URL is none."""
        return _without_ending(self.path)

    def _api(self) -> str:
        has_version = any(map(_VERSION.fullmatch, self.path.split("/")))
        return self.path if has_version else f"{self.path}/v1"


def base_url(url: str) -> BaseUrl:
    """Return a URL's parts; one without a scheme is http.

    Raises:
        ValueError: It is no URL of a server, in words that do not repeat a password.
    """
    if not url.isprintable():
        # The library takes line breaks and tabs out in silence, and what is left is another URL.
        raise ValueError(f"urls: {url!r} holds a control character; take it out")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:
        raise ValueError("urls: an address in brackets is no IPv6 address; write http://[::1]:PORT") from None
    if "@" in parts.netloc:
        raise ValueError("urls: a URL has no user or password; keys go to target.api_key_env or target.auth")
    if parts.scheme not in ("http", "https") or not parts.hostname or not _HOST.fullmatch(parts.netloc):
        raise ValueError(f"urls: {url!r} is not a base URL; write http://HOST:PORT or https://HOST")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"urls: {url!r} has no valid port: 1 to 65535")
    path = parts.path.rstrip("/")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"urls: {url!r} has characters in its path that must be percent-encoded")
    if parts.fragment:
        raise ValueError(f"urls: {url!r} has a fragment; remove what follows #")
    if parts.query and _without_ending(path) is None:
        raise ValueError(
            f"urls: {url!r}: a base URL has no query; give the whole URL, up to /chat/completions and its "
            "query, or target.path"
        )
    secure = parts.scheme == "https"
    query = f"?{parts.query}" if parts.query else ""
    return BaseUrl(secure, parts.hostname, port or (443 if secure else 80), path, query)


def _without_ending(path: str) -> str | None:
    return next((path.removesuffix(ending) for ending in _ENDINGS if path.endswith(ending)), None)
