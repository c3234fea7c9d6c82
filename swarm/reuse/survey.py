"""Recorded sessions as columns, with the reuse of their prompts: what analyses and fits start from.

Memory: one session's ids at a time, a few dozen bytes for each request and for each piece of its path.
Ids that several sessions share have to wait for the instant they are used at; they wait on disk.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.errors import TraceError
from swarm.reuse.id_spool import Spool
from swarm.reuse.prefix_reuse import Column, Reuse, ReuseBuilder, Touch
from swarm.units import US_PER_S
from swarm.workload.block_paths import BrokenChainError, Ids, dense
from swarm.workload.recorded import RecordedRequest, RecordedSession

Floats = NDArray[np.float64]
TOKENS_MAX = 1 << 62
"""Of all requests together: sums stay exact in 64 bits."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """All requests of a workload in file order; agents and sessions by number, absent times are NaN.

    Times count from the first request of all: a trace may begin at any hour, or at Unix time. An agent's rows
    stand in order of time; agent numbers rise within and between sessions.
    """

    session: Column
    agent: Column
    is_subagent: NDArray[np.bool_]
    at_us: Column
    input_tokens: Column
    output_tokens: Column
    api_s: Floats
    think_s: Floats
    session_ids: tuple[str, ...]
    block_tokens: tuple[int, ...]
    models: dict[str, int]
    subagents: int
    reuse: Reuse


class Survey:
    """Takes sessions in order of file name; one is taken whole, or handed to `on_broken` and left out.

    Of sessions that share ids only the request that breaks the chain loses its ids: it never hits.
    """

    def __init__(self, ttls_us: list[int], on_broken: Callable[[TraceError], None]) -> None:
        self._on_broken = on_broken
        self._reuse = ReuseBuilder(ttls_us)
        self._spools: dict[str, Spool] = {}
        self._whole = [array("q") for _ in range(6)]
        self._times = [array("d") for _ in range(2)]
        self._session_ids: list[str] = []
        self._block_tokens: set[int] = set()
        self._models: dict[str, int] = {}
        self._agents = 0
        self._subagents = 0
        self._tokens = 0

    @property
    def requests(self) -> int:
        """How many requests were taken."""
        return len(self._whole[0])

    def add(self, session: RecordedSession) -> None:
        """Take a session."""
        rows = list(_rows(session))
        tokens = sum(request.input_tokens + request.output_tokens for _, _, request in rows)
        if self._tokens + tokens > TOKENS_MAX:
            reason = f"with {tokens} tokens it and those before it have more than {TOKENS_MAX}"
            self._on_broken(TraceError(session.source, f"session {session.id}", reason))
            return
        touches = list(_touches(session, rows, self.requests))
        if session.namespace.startswith("global"):
            self._spools.setdefault(session.namespace, Spool()).add(touches)
        else:
            try:
                _add_local(self._reuse, session, touches)
            except TraceError as error:
                self._on_broken(error)
                return
        self._tokens += tokens
        self._note(session, rows)

    def _note(self, session: RecordedSession, rows: list[tuple[int, int, RecordedRequest]]) -> None:
        number = len(self._session_ids)
        self._session_ids.append(session.id)
        self._block_tokens.add(session.block_tokens)
        agents = 1
        for agent, at_us, request in rows:
            agents = max(agents, agent + 1)
            whole = (number, self._agents + agent, agent, at_us, request.input_tokens, request.output_tokens)
            for column, value in zip(self._whole, whole, strict=True):
                column.append(value)
            self._times[0].append(np.nan if request.api_s is None else request.api_s)
            self._times[1].append(np.nan if request.think_s is None else request.think_s)
            self._models[request.model] = self._models.get(request.model, 0) + 1
        self._agents += agents
        self._subagents += sum(not isinstance(entry, RecordedRequest) for entry in session.entries)

    def _shared_chain_broken(self, request: int, error: BrokenChainError) -> None:
        session = self._session_ids[self._whole[0][request]]
        self._on_broken(TraceError(f"session {session!r}", f"request {request} of all: hash_ids", str(error)))

    def finish(self) -> Surveyed:
        """Work off what sessions share, and return the columns."""
        for spool in self._spools.values():
            with spool:
                self._reuse.add(spool.touches(), spool.names, self._shared_chain_broken)
        whole = [np.frombuffer(column, dtype=np.int64) for column in self._whole]
        api_s, think_s = (np.frombuffer(column, dtype=np.float64) for column in self._times)
        start_us = int(whole[3].min()) if len(whole[3]) else 0
        return Surveyed(
            session=whole[0],
            agent=whole[1],
            is_subagent=whole[2] > 0,
            at_us=whole[3] - start_us,
            input_tokens=whole[4],
            output_tokens=whole[5],
            api_s=api_s,
            think_s=think_s,
            session_ids=tuple(self._session_ids),
            block_tokens=tuple(sorted(self._block_tokens)),
            models=dict(sorted(self._models.items())),
            subagents=self._subagents,
            reuse=self._reuse.build(start_us),
        )


def _rows(session: RecordedSession) -> Iterator[tuple[int, int, RecordedRequest]]:
    """Yield (agent, instant, request) in file order; agent 0 is the orchestrator."""
    agents = 0
    for entry in session.entries:
        if isinstance(entry, RecordedRequest):
            yield 0, round(entry.t_s * US_PER_S), entry
        else:
            agents += 1
            start_us = round(entry.t_s * US_PER_S)
            for request in entry.requests:
                yield agents, start_us + round(request.t_s * US_PER_S), request


def _touches(
    session: RecordedSession, rows: list[tuple[int, int, RecordedRequest]], first: int
) -> Iterator[Touch]:
    block_tokens = session.block_tokens
    for number, (_, at_us, request) in enumerate(rows, first):
        # Unsigned ids keep their bits: as names, the signed number does as well.
        ids: Ids = np.asarray(request.hash_ids).astype(np.int64, copy=False)
        overhang = max(0, len(ids) * block_tokens - request.input_tokens)
        yield Touch(number, at_us, ids, block_tokens, overhang)


def _add_local(reuse: ReuseBuilder, session: RecordedSession, touches: list[Touch]) -> None:
    if not touches:
        return
    first = touches[0].request
    renamed, names = dense(np.concatenate([touch.ids for touch in touches]))
    ends = np.cumsum([len(touch.ids) for touch in touches]).tolist()
    touches = [
        touch._replace(ids=renamed[end - len(touch.ids) : end])
        for touch, end in zip(touches, ends, strict=True)
    ]
    touches.sort(key=lambda touch: touch.at_us)

    def stop(request: int, error: BrokenChainError) -> None:
        raise TraceError(session.source, f"request {request - first}: hash_ids", str(error)) from error

    reuse.add(touches, names, stop)
