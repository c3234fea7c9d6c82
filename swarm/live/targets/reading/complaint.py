"""What a server says is wrong, in whichever shape it says so."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_MEMBERS = ("error_message", "error_msg", "err_msg", "errmsg", "detail", "exception", "fault")
_WORDS = (
    "message",
    "msg",
    "detail",
    "error_msg",
    "error_message",
    "err_msg",
    "errmsg",
    "status_msg",
    "reason",
    "error",
    "exception",
    "fault",
    "faultstring",
    "response",
)
_KINDS = ("type", "code", "status", "status_code", "statuscode", "param")
_BAD_TYPES = ("error", "exception", "failed", "failure")
_CODES = ("code", "status_code", "statuscode")
_OUTCOMES = ("success", "ok")
_NAME_PARTS = re.compile("[^a-z]+")


def loads(data: bytes) -> Any:
    """Return decoded JSON; unlike orjson alone, halves of surrogate pairs are let through.

    Raises ValueError, also where it is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data.decode())
        except RecursionError:
            raise ValueError("nested too deeply") from None


def complaint(message: dict[str, Any], *, is_reply: bool) -> str | None:
    """Return the server's words if an object is an error, or holds one.

    `is_reply` says that it has choices: then a message, a detail or a code of its own is no error.
    """
    message = _lowered(message)
    for name in ("error", "errors"):
        if message.get(name):
            return words(message[name])
    if any(_is_bad_name(message.get(name)) for name in ("object", "type")):
        return words(message)
    base = message.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return words(base)
    if is_reply:
        return None
    if any(message.get(name) for name in _MEMBERS) or _is_bad_code(message.get("error_code")):
        return words(message)
    if any(message.get(name) is False for name in _OUTCOMES) or _is_bad_name(message.get("status")):
        return words(message)
    said = {name for name in _WORDS if isinstance(message.get(name), str)}
    if "message" in said and any(message.get(name) for name in _KINDS):
        return words(message)
    return words(message) if said and any(_is_bad_code(message.get(name)) for name in _CODES) else None


def words(error: object) -> str:
    """Return an error's words: its message first, then its kind."""
    if isinstance(error, str):
        return error
    if isinstance(error, list) and error:
        return words(error[0])
    if not isinstance(error, dict):
        return f"{error}"
    error = _lowered(error)
    said = next((error[name] for name in _WORDS if error.get(name)), None)
    if said is None:
        return _text(error)
    kinds = [f"{error[name]}" for name in _KINDS if isinstance(error.get(name), str | int) and error[name]]
    return (said if isinstance(said, str) else words(said)) + (f" ({', '.join(kinds)})" if kinds else "")


def of_text(text: bytes) -> str | None:
    """Return the words of a text that is JSON, or begins with it, and an error; None if it is not."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text.decode("utf-8", "replace").lstrip("\ufeff \t\r\n"))
    except (ValueError, RecursionError):
        return None
    if isinstance(found, list) and found:
        found = found[0]
    return complaint(found, is_reply="choices" in found) if isinstance(found, dict) else None


def _lowered(message: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in message.items()}


def _is_bad_name(name: object) -> bool:
    """Whether the last word of a type's name is one of failure, as in `response.failed`."""
    return isinstance(name, str) and _NAME_PARTS.split(name.lower())[-1] in _BAD_TYPES


def _is_bad_code(code: object) -> bool:
    return isinstance(code, int | str) and code not in (0, "", "0", 200, "200")


def _text(error: dict[str, Any]) -> str:
    try:
        return orjson.dumps(error).decode()
    except (TypeError, ValueError, RecursionError):
        return f"{error}"
