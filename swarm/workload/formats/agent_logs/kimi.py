"""Kimi CLI: lines of a session; a request is a `step.end`, with times of its first token and its stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.documents import inside, text, time_s, tokens, took_s
from swarm.workload.formats.agent_logs.logged import OpenedBy, Tally
from swarm.workload.formats.agent_logs.rows import Row, request_of
from swarm.workload.formats.files import OnBroken, shown_name

CACHE_BLOCK_TOKENS = 256
"""Counts of cached tokens are multiples of this, and are of prompts without the reply."""
OWN_NAMES = ("wire", "context")
"""Files that are called the same in each session's folder."""
MAIN = "main"


def parse(values: Iterator[tuple[Path, str, Any]], tally: Tally, on_broken: OnBroken) -> Iterator[Row]:
    """Yield the steps that ended; their counts come again as `usage.record`, which is not counted."""
    models: dict[Path, str] = {}
    opened: dict[Path, OpenedBy] = {}
    asked: Counter[Path] = Counter()
    for file, place, value in values:
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            kind = text(value, "type")
            if kind == "llm.request":
                models[file] = text(value, "model")
                asked[file] += 1
            elif kind == "turn.prompt":
                opened[file] = "human" if text(value.get("origin"), "kind") in ("", "user") else "notice"
            elif text(inside(value, "event"), "type") == "step.end":
                yield _row(file, value, models.get(file, ""), opened.get(file, "notice"), tally)
                opened[file] = "tool"
                asked[file] -= 1
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), place, str(fault)))
    left = sum(count for count in asked.values() if count > 0)
    if left:
        tally.missing["requests whose end is not written: hidden, failed or ended by a person"] += left


def whose(file: Path) -> tuple[str, str]:
    """Return a file's session and agent, by `SESSION/agents/AGENT/wire.jsonl` or `SESSION/wire.jsonl`."""
    name = file.name.split(".")[0]
    if name not in OWN_NAMES:
        return name, ""
    if file.parent.parent.name == "agents":
        agent = file.parent.name
        return file.parent.parent.parent.name, "" if agent == MAIN else agent
    return file.parent.name, ""


def _row(file: Path, value: dict[str, Any], model: str, opened_by: OpenedBy, tally: Tally) -> Row:
    event = value["event"]
    usage = event.get("usage")
    if type(usage) is not dict:
        raise ValueError("usage: must be an object")
    at_s = time_s(value.get("time"), "time")
    waited_s, streamed_s = (
        took_s(event.get(name)) for name in ("llmFirstTokenLatencyMs", "llmStreamDurationMs")
    )
    start_s = first_s = None
    if at_s is not None and waited_s is not None and streamed_s is not None:
        first_s = max(0.0, at_s - streamed_s)
        start_s = max(0.0, first_s - waited_s)
    other, read, written, output = (
        tokens(usage.get(name), name)
        for name in ("inputOther", "inputCacheRead", "inputCacheCreation", "output")
    )
    session, agent = whose(file)
    return Row(
        session=session,
        agent=agent,
        kind="agent" if agent else "",
        request=request_of(
            start_s=start_s,
            end_s=at_s,
            first_s=first_s,
            model=model,
            inputs=other,
            read=read,
            written=written,
            outputs=output,
            stop=text(event, "finishReason") or None,
            opened_by=opened_by,
            is_exclusive=True,
            cache_block_tokens=CACHE_BLOCK_TOKENS,
            holds_replies=False,
            tally=tally,
        ),
        id=text(event, "uuid"),
    )
