"""Codex's own logs: a `rollout-*.jsonl` a session, sub-agents in files of their own.

One request is one change of the cumulative `total_token_usage`; a count that is written twice is one request.
Its input includes what was cached, its output includes the reasoning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.claude_code import time_of
from swarm.workload.formats.agent_logs.logged import LoggedRequest, OpenedBy, Tally
from swarm.workload.formats.fields import TOKENS_MAX, shown
from swarm.workload.formats.files import OnBroken, read_lines, shown_name

COPIED_S = 1.0
"""Of a fork's log, after its begin: what it has counted by then are the requests of its origin."""
Seen = set[tuple[float, tuple[int, ...]]]
"""Requests by their ends and cumulative counts: another file that has them repeats them."""
COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "total_tokens")
CACHE_BLOCK_TOKENS = 128
"""Counts of cached tokens are multiples of this."""


@dataclass(slots=True)
class Rollout:
    """One file: whose it is, and its requests."""

    session: str
    parent: str | None
    kind: str
    project: str = ""
    """The folder in which it worked."""
    forked_from: str = ""
    """The session whose beginning its log repeats."""
    requests: list[LoggedRequest] = field(default_factory=list)


@dataclass(slots=True)
class _State:
    """Where a reading of one file is."""

    totals: tuple[int, ...] | None = None
    model: str = ""
    waiting_s: float | None = None
    """When the last line was written that the next request had to wait for."""
    opened_by: OpenedBy = "start"
    first_s: float | None = None
    """When the first item of the reply under way was written."""
    types: dict[str, None] = field(default_factory=dict)
    begun_s: float = 0.0
    last_s: float = 0.0
    """When the last line was written that says it."""


def read_rollout(file: Path, seen: Seen, tally: Tally, on_broken: OnBroken) -> Rollout:
    """Return what a file holds, less what an earlier one has; `seen` is added to."""
    rollout = Rollout(file.name.split(".")[0], None, "")
    state = _State()
    for number, value in read_lines(file, on_broken, tally.take_cut):
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            payload = value.get("payload")
            payload = payload if type(payload) is dict else value
            _take(rollout, state, value, payload, seen, tally)
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), f"line {number}", str(fault)))
    return rollout


def _take(
    rollout: Rollout,
    state: _State,
    value: dict[str, Any],
    payload: dict[str, Any],
    seen: Seen,
    tally: Tally,
) -> None:
    kind, at_s = value.get("type"), time_of(value) or state.last_s
    state.last_s = at_s
    if kind == "session_meta":
        _take_meta(rollout, state, payload, at_s)
    elif kind == "turn_context":
        model = payload.get("model")
        state.model = model if type(model) is str else state.model
        _wait(state, at_s, None)
    elif kind == "response_item":
        _take_item(state, payload, at_s)
    elif kind == "event_msg" and payload.get("type") == "token_count":
        _take_count(rollout, state, payload, at_s, seen, tally)
    elif kind == "event_msg" and payload.get("type") == "user_message":
        _wait(state, at_s, "human")
    elif kind == "event_msg" and payload.get("type") == "turn_aborted":
        tally.missing["turns that a person ended: counted as far as they had come"] += 1
    elif kind == "compacted":
        tally.missing["summaries of full contexts, whose requests this log does not count"] += 1


def _take_meta(rollout: Rollout, state: _State, payload: dict[str, Any], at_s: float) -> None:
    if state.begun_s:
        return
    state.begun_s = at_s
    if type(payload.get("id")) is str:
        rollout.session = payload["id"]
    if type(payload.get("cwd")) is str:
        rollout.project = payload["cwd"]
    if type(payload.get("forked_from_id")) is str:
        rollout.forked_from = payload["forked_from_id"]
    source = payload.get("source")
    spawn = source.get("subagent") if type(source) is dict else None
    spawn = spawn.get("thread_spawn", spawn) if type(spawn) is dict else spawn
    if type(spawn) is dict:
        parent = spawn.get("parent_thread_id")
        rollout.parent = parent if type(parent) is str else None
        role = spawn.get("agent_role") or spawn.get("agent_nickname")
        rollout.kind = role if type(role) is str else "subagent"
    elif type(spawn) is str:
        rollout.kind = spawn


def _wait(state: _State, at_s: float, opened_by: OpenedBy | None) -> None:
    """Note a line that the next request could not be sent before."""
    state.waiting_s, state.first_s = at_s, None
    if opened_by is not None and state.totals is not None:
        state.opened_by = opened_by


def _take_item(state: _State, payload: dict[str, Any], at_s: float) -> None:
    kind = payload.get("type")
    if kind in ("function_call_output", "custom_tool_call_output", "local_shell_call_output"):
        _wait(state, at_s, "tool")
    elif kind == "message" and payload.get("role") in ("user", "developer", "system"):
        return
    elif type(kind) is str:
        if state.first_s is None:
            state.first_s = at_s
        state.types[{"message": "text", "reasoning": "thinking"}.get(kind, "tool_use")] = None


def _is_repeated(
    rollout: Rollout, state: _State, totals: tuple[int, ...], at_s: float, seen: Seen, tally: Tally
) -> bool:
    """Say whether another log has this request, or is the one to have it; note it."""
    is_copy = at_s < state.begun_s + (COPIED_S if rollout.forked_from else 0.0)
    if is_copy:
        tally.read["requests of a parent or an origin that a log repeats"] += 1
    elif (at_s, totals) in seen:
        tally.read["requests that another log has already"] += 1
        return True
    seen.add((at_s, totals))
    return is_copy


def _take_count(
    rollout: Rollout, state: _State, payload: dict[str, Any], at_s: float, seen: Seen, tally: Tally
) -> None:
    info = payload.get("info")
    if type(info) is not dict:
        return
    total, last = info.get("total_token_usage"), info.get("last_token_usage")
    if type(total) is not dict:
        raise ValueError("total_token_usage: must be an object")
    totals = tuple(_count(total, name) for name in COUNTS)
    before = state.totals or (0,) * len(COUNTS)
    if totals == before:
        tally.read["token counts that were written twice"] += 1
        return
    state.totals = totals
    if _is_repeated(rollout, state, totals, at_s, seen, tally):
        state.types, state.first_s, state.opened_by, state.waiting_s = {}, None, "tool", None
        return
    steps = [now - then for now, then in zip(totals, before, strict=True)]
    if min(steps[:3]) < 0:
        # The totals began anew: what this request had stands beside them.
        if type(last) is not dict:
            raise ValueError(
                f"total_token_usage: fell from {before} to {totals}, and last_token_usage is missing"
            )
        steps = [_count(last, name) for name in COUNTS]
        tally.inferred["requests after totals that began anew, from their own counts"] += 1
    inputs, cached, outputs = steps[:3]
    if cached > inputs:
        raise ValueError(f"cached_input_tokens: {cached} of {inputs} input tokens")
    start_s = min(at_s, state.waiting_s if state.waiting_s is not None else state.first_s or at_s)
    tally.read["requests"] += 1
    if state.waiting_s is None:
        tally.inferred["starts of requests, taken from their first output"] += 1
    written = type(last) is dict and last.get("cache_write_input_tokens")
    rollout.requests.append(
        LoggedRequest(
            start_s=start_s,
            end_s=at_s,
            first_s=state.first_s if state.first_s is not None and state.first_s >= start_s else None,
            model=state.model,
            plain_tokens=0,
            read_tokens=cached,
            written_tokens=inputs - cached,
            ttl_s=None,
            output_tokens=outputs,
            opened_by=state.opened_by if rollout.requests else "start",
            output_types=tuple(sorted(state.types)),
            stop=None,
            is_compaction=False,
            held_tokens=(inputs + outputs) // CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS,
        )
    )
    if not written:
        tally.missing["whether new input was written to the cache: taken as written"] += 1
    state.types, state.first_s, state.opened_by = {}, None, "tool"
    state.waiting_s = None


def _count(value: dict[str, Any], name: str) -> int:
    found = value.get(name, 0)
    if type(found) is not int or not 0 <= found <= TOKENS_MAX:
        raise ValueError(f"{name}: must be an integer from 0 to {TOKENS_MAX}, got {shown(found)}")
    return found
