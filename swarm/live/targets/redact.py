"""Texts of a server made fit to be shown: secrets blotted out in whatever way they are written, then cut."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html.entities import codepoint2name
from typing import Any

from swarm.config.target import TargetConfig
from swarm.live.targets.transport.proxy import proxy_of

SHOWN_MAX = 400
"""Characters of a server's words that are kept."""
BLOT = "[key]"
PREFIX_LEAST = 8
"""So much of a secret's beginning is taken for the secret, cut off by whoever quoted it."""
SHORT_LEAST = 4
"""Shorter secrets are no secrets: blotting them out would take letters away from everything."""
TEXT_MAX = 1 << 16
"""Characters that are looked through; what is behind is never shown."""
_SECRET_NAME = re.compile(r"auth|key|token|secret|password|passwd|cookie|credential|signature", re.I)
_BEARER = re.compile(r"\b(bearer|basic)((?:\s|%20|\+|\\u0020|&#32;)+)[A-Za-z0-9._~+/=%-]{6,}", re.I)


class Redactor:
    """Blots a target's secrets out of texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({one for one in secrets if len(one) >= SHORT_LEAST}, key=len, reverse=True)
        self._forms = [form for secret in known for form in _encoded(secret)]
        self._written = [(list(map(_pattern, secret)), _lead(secret)) for secret in known]

    def __call__(self, text: str) -> str:
        """Return a text without secrets, in characters that any terminal and file takes."""
        text = text[:TEXT_MAX]
        for chars, lead in self._written:
            text = _blotted(text, chars, lead)
        for form in self._forms:
            text = form.sub(BLOT, text)
        return _clean(_BEARER.sub(rf"\1\2{BLOT}", text))

    def shown(self, text: str) -> str:
        """Return the beginning of a text, without secrets: cut only after they were blotted out."""
        text = " ".join(self(text).split())
        return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def redactor(config: TargetConfig, key: str | None) -> Redactor:
    """Return the redactor of a target.

    Of its key, of its proxies' passwords, and of headers and members whose names say secrets.
    """
    secrets = [] if key is None else [key]
    for value in (*_named(config.headers), *_named(config.extra_body)):
        secrets += [value, *value.split()]
    for url in (*config.urls, *config.metrics_urls):
        proxy = proxy_of(url, config.proxy)
        if proxy is not None:
            secrets += proxy.secrets
    return Redactor(secrets)


def _named(value: Any, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the texts at any depth whose own name, or one above it, says a secret."""
    if isinstance(value, str) and is_secret:
        yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _named(each, is_secret=is_secret or _SECRET_NAME.search(name) is not None)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _named(each, is_secret=is_secret)


def _blotted(text: str, chars: list[re.Pattern[str]], lead: re.Pattern[str]) -> str:
    """Return a text without what is written as a secret, in part or in whole."""
    parts, at = [], 0
    for found in lead.finditer(text):
        if found.start() < at:
            continue
        parts.append(text[at : found.start()])
        at = found.end()
        for char in chars[min(PREFIX_LEAST, len(chars)) :]:
            more = char.match(text, at)
            if more is None:
                break
            at = more.end()
        parts.append(BLOT)
    return "".join(parts) + text[at:]


def _lead(secret: str) -> re.Pattern[str]:
    """Return what matches the beginning of a secret, or the whole of a short one, as a word of its own."""
    text = "".join(map(_written, secret[:PREFIX_LEAST]))
    if len(secret) >= PREFIX_LEAST:
        return re.compile(text, re.I)
    return re.compile(rf"(?<![A-Za-z0-9]){text}(?![A-Za-z0-9])")


@cache
def _pattern(char: str) -> re.Pattern[str]:
    return re.compile(_written(char), re.I)


def _written(char: str) -> str:
    """Return a pattern of the ways to write a character: plain, in URLs, JSON, HTML and literals."""
    code = ord(char)
    ways = [
        rf"%(?:25)*{code:02x}",
        rf"\\+u(?:00{code:02x}|\{{0*{code:x}\}})",
        rf"\\+x{code:02x}",
        rf"&(?:amp;)?#0*{code};",
        rf"&(?:amp;)?#x0*{code:x};",
        rf"={code:02x}",
    ]
    if char == " ":
        ways.append(r"\+")
    if code in codepoint2name:
        ways.append(f"&(?:amp;)?{codepoint2name[code]};")
    # The character itself is last: other ways begin with it.
    ways.append(rf"\\*{re.escape(char)}")
    return f"(?:{'|'.join(ways)})"


def _encoded(secret: str) -> list[re.Pattern[str]]:
    """Return what matches a secret within text that is base64 or hexadecimal."""
    data = secret.encode()
    forms = {re.escape(data.hex())}
    for shift in range(3):
        # What is before a secret moves its bits; characters that it shares with its neighbours are left out.
        whole = b64encode(b"\0" * shift + data).decode().rstrip("=")
        inner = whole[-(-shift * 8 // 6) : len(whole) - (1 if (shift + len(data)) % 3 else 0)]
        if len(inner) >= PREFIX_LEAST:
            ways = [_either(char) for char in inner]
            forms.add("".join(ways))
    return [re.compile(rf"[A-Za-z0-9+/_-]*{form}[A-Za-z0-9+/_=-]*") for form in forms]


def _either(char: str) -> str:
    if char in "+-":
        return "(?:[+-]|%2[bB])"
    if char in "/_":
        return r"(?:\\?/|_|%2[fF])"
    return char


def _clean(text: str) -> str:
    """Return a text without control characters and halves of surrogate pairs."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
