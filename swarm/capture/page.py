"""What `/status` says, for people and for programs."""

from __future__ import annotations

from html import escape
from typing import Any

import orjson

_HEAD = (
    "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>swarm capture</title>"
    "<style>body{font:15px system-ui;margin:2em auto;max-width:48em}td{padding:.15em 1em .15em 0;"
    "vertical-align:top}td:last-child{font-variant-numeric:tabular-nums}</style><h1>swarm capture</h1>"
)


def status_page(status: dict[str, Any], *, is_html: bool) -> bytes:
    """Return a whole response."""
    body = _html(status).encode() if is_html else orjson.dumps(status, option=orjson.OPT_INDENT_2) + b"\n"
    kind = b"text/html; charset=utf-8" if is_html else b"application/json"
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
        b"Connection: close\r\n\r\n%b" % (kind, len(body), body)
    )


def _html(status: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}<td>{escape(_shown(value))}"
        for name, value in _flat(status)
    )
    return f"{_HEAD}<table>{rows}</table>"


def _flat(status: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in status.items():
        if isinstance(value, dict):
            rows += [(f"{name}: {inner}", each) for inner, each in _flat(value)]
        else:
            rows.append((name, value))
    return rows


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
