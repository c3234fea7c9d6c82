"""LiteLLM's rows: its spend logs and its standard logging payloads, one a request.

`cache_hit` is the gateway's own cache of replies, not the provider's of prompts: such a row is no request.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.workload.formats.agent_logs.content import content_of
from swarm.workload.formats.agent_logs.documents import as_json, first_of, inside, text, time_s, tokens
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import Row, guarded, request_of
from swarm.workload.formats.files import OnBroken


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the requests that reached a provider."""
    yield from guarded(values, on_broken, lambda file, row: _rows(row, tally))


def _rows(row: dict[str, Any], tally: Tally) -> Iterator[Row]:
    if text(row, "status") == "failure":
        tally.missing["requests that failed"] += 1
        return
    if str(row.get("cache_hit")).lower() == "true":
        tally.read["replies from the gateway's own cache, which no provider saw"] += 1
        return
    usages = (
        inside(row, "metadata", "usage_object"),
        inside(row, "response", "usage"),
        inside(row, "usage"),
    )
    usage: dict[str, Any] = next((each for each in usages if type(each) is dict), {})
    details = inside(usage, "prompt_tokens_details")
    start_s, end_s = time_s(row.get("startTime"), "startTime"), time_s(row.get("endTime"), "endTime")
    first_s = time_s(row.get("completionStartTime"), "completionStartTime")
    messages = as_json(row.get("messages"))
    yield Row(
        session=text(row, "session_id", "litellm_session_id", "trace_id") or text(row, "request_id", "id"),
        agent=text(row, "agent_id"),
        kind=text(row, "agent_id"),
        request=request_of(
            start_s=start_s,
            end_s=end_s,
            # Without a stream the two are one: no first token was seen.
            first_s=None if first_s == end_s else first_s,
            model=text(row, "model", "model_group"),
            inputs=_count(row, usage, "prompt_tokens"),
            read=_first(
                tokens(first_of(usage, "cache_read_input_tokens"), "cache_read_input_tokens"),
                tokens(first_of(details, "cached_tokens"), "cached_tokens"),
            ),
            written=_first(
                tokens(first_of(usage, "cache_creation_input_tokens"), "cache_creation_input_tokens"),
                tokens(
                    first_of(details, "cache_creation_tokens", "cache_write_tokens"), "cache_creation_tokens"
                ),
            ),
            outputs=_count(row, usage, "completion_tokens"),
            stop=_stop(row),
            tally=tally,
        ),
        project=text(row, "team_id", "user"),
        content=content_of(messages) if type(messages) is list and messages else None,
        id=text(row, "request_id", "id"),
    )


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _count(row: dict[str, Any], usage: dict[str, Any], name: str) -> int | None:
    return (
        tokens(first_of(row, name), name)
        if row.get(name) is not None
        else tokens(first_of(usage, name), name)
    )


def _stop(row: dict[str, Any]) -> str | None:
    choices = inside(row, "response", "choices")
    return text(choices[0], "finish_reason") or None if type(choices) is list and choices else None
