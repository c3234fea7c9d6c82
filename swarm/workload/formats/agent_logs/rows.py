"""Logs with a row a request: what each format's parser finds, gathered to sessions and agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from swarm.errors import TraceError
from swarm.workload.formats.agent_logs.content import Content, bytes_per_token, ids_of
from swarm.workload.formats.agent_logs.documents import values_of
from swarm.workload.formats.agent_logs.identity import Chains, Names, Pools, identity_of
from swarm.workload.formats.agent_logs.logged import LoggedAgent, LoggedRequest, OpenedBy, Tally
from swarm.workload.formats.agent_logs.sessions import check_lengths, session_of
from swarm.workload.formats.files import OnBroken, shown_name
from swarm.workload.recorded import RecordedSession

BLOCK_TOKENS = 64
CACHE_BLOCK_TOKENS = 128
"""Of providers whose counts of cached tokens are multiples of it."""
_TOOL_STOPS = ("tool_calls", "tool_use", "tool-calls", "function_call", "toolUse")
_END_STOPS = ("stop", "end_turn", "length", "max_tokens", "STOP", "completed")


@dataclass(slots=True)
class Row:
    """One request, and whose it is; the main agent has no name."""

    session: str
    agent: str
    kind: str
    request: LoggedRequest
    project: str = ""
    content: Content | None = None
    ids: Sequence[int] | None = None
    """Blocks as the log names them, of `block_tokens`."""
    block_tokens: int = BLOCK_TOKENS
    id: str = ""
    """A request that comes again with this id is the same one."""


Values = Iterator[tuple[str, Any]]
Parser = Callable[[Iterator[tuple[Path, str, Any]], Tally, OnBroken], Iterator[Row]]


class Rows:
    """Reads one format whose rows name their sessions: all files together."""

    def __init__(self, parse: Parser, space: str, tally: Tally) -> None:
        self._parse = parse
        self._space = space
        self._tally = tally
        self._pools = Pools(BLOCK_TOKENS)

    def units(self, files: Sequence[Path]) -> list[tuple[Path, ...]]:
        """Return all files as one group: a session's rows may lie in several."""
        return [tuple(files)] if files else []

    def read(self, unit: tuple[Path, ...], on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield the sessions in the order in which they began."""
        values = ((file, place, value) for file in unit for place, value in values_of(file, on_broken))
        sessions: dict[str, list[Row]] = {}
        seen: set[str] = set()
        for row in self._parse(values, self._tally, on_broken):
            if row.id and row.id in seen:
                self._tally.read["rows of a request that came before"] += 1
                continue
            seen.add(row.id)
            sessions.setdefault(row.session, []).append(row)
        counted = (
            (row.content, row.request.input_tokens)
            for rows in sessions.values()
            for row in rows
            if row.content is not None and row.request.is_counted
        )
        ratio = bytes_per_token(counted)
        for name, rows in sorted(sessions.items(), key=lambda item: min(r.request.start_s for r in item[1])):
            source = shown_name(unit[0])
            try:
                check_lengths(source, name, (row.request for row in rows), rows[0].block_tokens)
            except TraceError as error:
                on_broken(error)
                continue
            yield self._session(name, rows, source, ratio)

    def _session(self, name: str, rows: list[Row], source: str, ratio: float) -> RecordedSession:
        rows.sort(key=lambda row: row.request.start_s)
        block_tokens = rows[0].block_tokens
        names = Names(f"{self._space}\0{name}")
        agents: dict[str, LoggedAgent] = {}
        main = rows[0].agent if all(row.agent for row in rows) else ""
        for row in rows:
            agent = "" if row.agent == main else row.agent
            kind = "" if not agent else row.kind or "agent"
            self._lay_out(row, block_tokens, ratio, names)
            agents.setdefault(agent, LoggedAgent(agent, kind, [])).requests.append(row.request)
            self._tally.read["requests"] += 1
        ordered = sorted(agents.values(), key=lambda agent: agent.agent_id != "")
        for each in ordered:
            _open(each.requests)
        chains = Chains(name, block_tokens, self._pools, self._tally, misses_by_routing=True)
        identity = identity_of(ordered)
        self._tally.pairs += identity.pairs
        self._tally.exact += identity.exact
        return session_of(name, source, ordered, chains, self._space, rows[0].project)

    def _lay_out(self, row: Row, block_tokens: int, ratio: float, names: Names) -> None:
        """Give a request the blocks that its log names, or that its words make."""
        request = row.request
        if row.ids is not None and row.block_tokens == block_tokens:
            request.ids = row.ids
        elif row.content is not None:
            if not request.is_counted:
                request.plain_tokens = int(row.content.bytes / ratio)
            request.ids = ids_of(
                row.content, request.input_tokens, block_tokens=block_tokens, ratio=ratio, names=names
            )
            self._tally.read["prompts whose words were hashed"] += 1
            self._tally.inferred[f"ends of blocks, at {ratio:.2f} bytes a token"] += 1
            row.content = None


def request_of(
    *,
    start_s: float | None,
    end_s: float | None,
    model: str,
    inputs: int | None,
    read: int | None,
    written: int | None,
    outputs: int | None,
    tally: Tally,
    first_s: float | None = None,
    stop: str | None = None,
    opened_by: OpenedBy = "notice",
    is_exclusive: bool = False,
    ttl_s: float | None = None,
    output_types: tuple[str, ...] = (),
    cache_block_tokens: int = CACHE_BLOCK_TOKENS,
    holds_replies: bool = True,
) -> LoggedRequest:
    """Return a request of counts that may be absent; `is_exclusive`: the input is beside the cached.

    What the provider holds after it is what it wrote, or else whole blocks of the prompt and the reply.
    """
    if start_s is None:
        start_s = end_s if end_s is not None else 0.0
        if end_s is None:
            tally.missing["times of requests"] += 1
    if read is None:
        tally.missing["what was read from a cache"] += 1
    if inputs is None:
        tally.missing["counts of input tokens"] += 1
    had, made = read or 0, written or 0
    plain = inputs or 0
    if not is_exclusive:
        plain = _beside_cached(plain, had + made, tally)
    total = plain + had + made
    if first_s is not None and not start_s <= first_s <= (end_s or first_s):
        first_s = None
    left = total + (outputs or 0 if holds_replies else 0)
    held = had + made if made else left // cache_block_tokens * cache_block_tokens
    return LoggedRequest(
        start_s=start_s,
        end_s=max(start_s, end_s if end_s is not None else start_s),
        first_s=first_s,
        model=model,
        plain_tokens=plain,
        read_tokens=had,
        written_tokens=made,
        ttl_s=ttl_s,
        output_tokens=outputs or 0,
        opened_by=opened_by,
        output_types=output_types,
        stop=stop,
        is_compaction=False,
        held_tokens=held,
        is_told=read is not None,
        is_counted=inputs is not None,
    )


def _beside_cached(inputs: int, cached: int, tally: Tally) -> int:
    """Return the input that was not cached: inputs hold it, unless they are fewer than what was cached."""
    if inputs >= cached:
        return inputs - cached
    tally.inferred["inputs counted beside the cached ones, as those are more"] += 1
    return inputs


def guarded(
    values: Iterator[tuple[Path, str, Any]], on_broken: OnBroken, take: Callable[[Path, Any], Iterator[Row]]
) -> Iterator[Row]:
    """Yield what `take` makes of each value; a value that it finds wrong is named and left out."""
    for file, place, value in values:
        try:
            if type(value) is not dict:
                raise ValueError("must be an object")
            found = list(take(file, value))
        except ValueError as fault:
            on_broken(TraceError(shown_name(file), place, str(fault)))
            continue
        yield from found


def _open(requests: list[LoggedRequest]) -> None:
    """Say what opened requests of which the log does not: a reply before that called a tool, or ended."""
    for before, after in pairwise(requests):
        if after.opened_by == "notice" and before.stop:
            after.opened_by = "tool" if before.stop in _TOOL_STOPS else after.opened_by
            after.opened_by = "human" if before.stop in _END_STOPS else after.opened_by
    if requests:
        requests[0].opened_by = "start"
