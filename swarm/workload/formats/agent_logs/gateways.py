"""Langfuse's observations and OpenRouter's generations: a row a request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.workload.formats.agent_logs.content import content_of
from swarm.workload.formats.agent_logs.documents import (
    as_json,
    first_of,
    inside,
    text,
    time_s,
    tokens,
    took_s,
)
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.rows import Row, guarded, request_of
from swarm.workload.formats.files import OnBroken

_FLAT = "langfuse.observation."
_READ = ("cache_read_input_tokens", "input_cached_tokens", "input_cache_read")
_WRITTEN = ("cache_creation_input_tokens", "input_cache_creation")


def langfuse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the generations among observations."""
    yield from guarded(values, on_broken, lambda file, row: _observations(file, row, tally))


def _observations(file: Path, row: dict[str, Any], tally: Tally) -> Iterator[Row]:
    if type(row.get("observations")) is list:
        for each in row["observations"]:
            if type(each) is dict:
                yield from _observations(file, {"sessionId": row.get("sessionId"), **each}, tally)
        return
    said = row.get("attributes")
    flat = {name.removeprefix(_FLAT): value for name, value in said.items()} if type(said) is dict else {}
    if (text(row, "type") or text(flat, "type")).lower() != "generation":
        tally.read["observations that are no generation"] += 1
        return
    usage = (
        as_json(first_of(row, "usageDetails", "usage_details", "usage") or flat.get("usage_details")) or {}
    )
    inputs, output, total = (tokens(first_of(usage, name), name) for name in ("input", "output", "total"))
    read, written = (tokens(first_of(usage, *names), names[0]) for names in (_READ, _WRITTEN))
    # By its convention the keys are disjoint and add up to the total; gateways write the whole input instead.
    is_disjoint = total is None or total == sum(each or 0 for each in (inputs, output, read, written))
    words = inside(as_json(first_of(row, "input") or flat.get("input")), "messages")
    yield Row(
        session=text(row, "sessionId", "session_id", "traceId", "trace_id")
        or text(flat, "session.id")
        or file.name,
        agent="",
        kind="",
        request=request_of(
            start_s=time_s(first_of(row, "startTime", "start_time"), "startTime"),
            end_s=time_s(first_of(row, "endTime", "end_time"), "endTime"),
            first_s=time_s(
                first_of(row, "completionStartTime", "completion_start_time"), "completionStartTime"
            ),
            model=text(row, "model", "providedModelName") or text(flat, "model.name"),
            inputs=inputs,
            read=read,
            written=written,
            outputs=output,
            is_exclusive=is_disjoint,
            tally=tally,
        ),
        project=text(row, "projectId"),
        content=content_of(words) if type(words) is list and words else None,
        id=text(row, "id"),
    )  # fmt: skip


def openrouter(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the generations, by the counts of the model's own tokenizer."""
    yield from guarded(values, on_broken, lambda file, row: _generations(row, tally))


def _generations(row: dict[str, Any], tally: Tally) -> Iterator[Row]:
    data = row.get("data", row)
    for each in data if type(data) is list else [data]:
        if type(each) is not dict:
            raise ValueError("data: must be an object")
        if each.get("cancelled"):
            tally.missing["requests that were cancelled"] += 1
            continue
        start_s = time_s(each.get("created_at"), "created_at")
        times_s = (took_s(each.get("latency")), took_s(each.get("generation_time")))
        lasted_s = max((found for found in times_s if found is not None), default=None)
        tally.missing["times to the first token: `latency` has had two meanings"] += 1
        yield Row(
            session=text(each, "session_id", "external_user") or text(each, "id"),
            agent="",
            kind="",
            request=request_of(
                start_s=start_s,
                end_s=None if start_s is None or lasted_s is None else start_s + lasted_s,
                model=text(each, "model"),
                inputs=tokens(first_of(each, "native_tokens_prompt"), "native_tokens_prompt"),
                read=tokens(first_of(each, "native_tokens_cached"), "native_tokens_cached"),
                written=None,
                outputs=tokens(first_of(each, "native_tokens_completion"), "native_tokens_completion"),
                stop=text(each, "finish_reason") or None,
                tally=tally,
            ),
            project=str(each.get("app_id") or ""),
            id=text(each, "id"),
        )  # fmt: skip
