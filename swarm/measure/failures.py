"""Why requests failed: by class how many, in the words of one of them, and what to do where that is known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from swarm.records.batch import FailureExample

WORDS_TOLD = 200
"""Characters of an example that a note quotes."""

_BY_CLASS = {
    "http_5xx": "the server itself failed: look into the server's own log",
    "refused": "is the server running at target.urls?",
    "unreachable": "check the host in target.urls",
    "tls": "name the server's certificate in target.ca_file, or use http:// in target.urls",
    "client_limit": "raise target.limits.connections_max, or the system's limit on open files (ulimit -n)",
    "too_large": "raise the bound under target.limits if the server means it",
    "timeout_connect": "raise target.timeouts.connect_s if the server means it",
    "timeout_first_token": "raise target.timeouts.first_token_s if the server means it",
    "timeout_between_tokens": "raise target.timeouts.between_tokens_s if the server means it",
    "timeout_total": "raise target.timeouts.total_s if the server means it",
}
_BY_STATUS = {
    401: "give the key in the variable that target.api_key_env names",
    403: "give a key that may use the model in the variable that target.api_key_env names",
    413: "plan shorter prompts",
    **dict.fromkeys((301, 302, 303, 307, 308), "set target.urls to where the Location leads"),
}
_LENGTH = re.compile(r"max_completion_tokens|max_output_tokens")
"""A reply's length by another name than `max_tokens`: who names it wants it."""
_EXACT = re.compile(r"min_tokens|ignore_eos")
_CHOICE = re.compile(r"tool[ _-]choice|tool-call-parser|\btools\b.*(not support|unsupported)", re.I)
_BREAKPOINTS = re.compile(r"cache_control", re.I)
_MODEL = re.compile(
    r"\bmodel\b.*(not found|not exist|unknown|not available|unsupported|invalid)|no such model", re.I
)
_CONTEXT = re.compile(
    r"context (length|window|size)|maximum context|max_model_len|context of \d|too many tokens", re.I
)
_NO_FINISH = re.compile("without a finish_reason, but with")
_STREAMING = re.compile(r"content-type '(application/json|text/plain)")


def failure_reasons(
    counts: Mapping[str, int], examples: Iterable[FailureExample], *, exact_output: bool
) -> list[dict[str, Any]]:
    """Return for each class of failures how many there were, one example, and the remedy if it is known."""
    first: dict[str, FailureExample] = {}
    for example in examples:
        first.setdefault(example.error_class, example)
    found = []
    for kind, count in counts.items():
        one = first.get(kind)
        found.append(
            {
                "class": kind,
                "count": count,
                "status": None if one is None else one.status,
                "example": None if one is None else one.words,
                "remedy": remedy(
                    kind,
                    None if one is None else one.status,
                    "" if one is None else one.words,
                    exact_output=exact_output,
                ),
            }
        )
    return found


def remedy(kind: str, status: int | None, words: str, *, exact_output: bool) -> str | None:
    """Return what to do about a failure; None where it is not known."""
    if exact_output and _EXACT.search(words):
        return "set target.exact_output: false"
    length = _LENGTH.search(words)
    if length is not None:
        return f"set target.max_tokens_member: {length[0]}"
    if _CHOICE.search(words):
        return "set target.tool_definition_tokens: 0, or let the server take tools"
    if _BREAKPOINTS.search(words):
        return "set target.cache_control: null, or as the server takes it"
    if _MODEL.search(words):
        return "set target.model to a name that the server's /v1/models lists"
    if _CONTEXT.search(words):
        return "plan prompts that fit the model's context"
    if kind in ("http_4xx", "http_other") and status in _BY_STATUS:
        return _BY_STATUS[status]
    if kind == "http_4xx" and status in (404, 405):
        return "check the path of target.urls, and target.api"
    if kind == "malformed" and _STREAMING.search(words):
        return "let the server answer with an event stream (stream: true)"
    if kind == "truncated" and _NO_FINISH.search(words):
        return (
            "only a finish_reason tells a whole reply from a cut one: "
            "let the server, and proxies before it, send one with the last delta"
        )
    return _BY_CLASS.get(kind)


def failures_told(reasons: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a note for each class of failures."""
    return [_told(reason) for reason in reasons]


def _told(reason: Mapping[str, Any]) -> str:
    count, words = reason["count"], reason["example"]
    text = f"{count:,} request{'s' if count > 1 else ''} failed as {reason['class']}"
    if words:
        text += f": {words if len(words) <= WORDS_TOLD else words[:WORDS_TOLD] + '...'}"
    return text if reason["remedy"] is None else f"{text}; {reason['remedy']}"
