"""Requests of sessions as columns: what fits start from, and what sampled sessions are held against."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Turns:
    """One row a request, an agent's in order of time. Of an agent's first, differences are NaN and kept is 0.

    `agent` is 0 for the orchestrator. `kept_tokens` is how much of the agent's previous input this one starts
    with, `known_tokens` how much the session has sent at any time before; `gap_s` is from start to start.
    """

    session: Ints
    agent: Ints
    index: Ints
    at_s: Floats
    input: Ints
    output: Ints
    kept_tokens: Ints
    known_tokens: Ints
    gap_s: Floats
    think_s: Floats
    service_s: Floats
    is_human: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.session)

    def previous(self, values: NDArray[np.generic]) -> Floats:
        """Return each row's value one request of the same agent earlier, NaN for first ones."""
        moved = np.concatenate(([np.nan], values[:-1].astype(np.float64)))
        return np.where(self.index == 0, np.nan, moved)

    @property
    def growth(self) -> Floats:
        """Input tokens more than the agent's previous request had."""
        grown: Floats = self.input - self.previous(self.input)
        return grown


@dataclass(frozen=True, slots=True)
class Child:
    """A recorded sub-agent against its orchestrator's requests."""

    session: int
    agent: int
    after: int
    """The orchestrator's request before its start; -1: none."""
    delay_s: float
    joined: bool
    tool_tokens: int
    system_tokens: int


@dataclass(frozen=True, slots=True)
class Observed:
    """Recorded sessions as columns."""

    turns: Turns
    children: tuple[Child, ...]
    starts_s: Floats
    tool_tokens: Ints
    system_tokens: Ints
    block_tokens: int
    child_shared_tokens: float


def observe(sessions: Sequence[RecordedSession]) -> Observed:
    """Return the columns of recorded sessions; sessions without requests of their own are left out."""
    rows: list[tuple[float, ...]] = []
    known: list[int] = []
    children: list[Child] = []
    starts_s: list[float] = []
    prefixes: list[tuple[int, int]] = []
    shared: list[float] = []
    for session in sessions:
        main = _in_order(entry for entry in session.entries if isinstance(entry, RecordedRequest))
        if not main:
            continue
        number = len(starts_s)
        starts_s.append(main[0].t_s)
        prefixes.append((session.tool_tokens, session.system_tokens))
        subs = [entry for entry in session.entries if isinstance(entry, RecordedSubagent) and entry.requests]
        rows += _agent_rows(number, 0, -main[0].t_s, main, session.block_tokens)
        for agent, sub in enumerate(subs, 1):
            requests = _in_order(sub.requests)
            rows += _agent_rows(number, agent, sub.t_s - main[0].t_s, requests, session.block_tokens)
            children.append(_child(number, agent, sub, main, min(entry.t_s for entry in session.entries)))
        known += _known_blocks(main, subs)
        firsts = [_in_order(sub.requests)[0].hash_ids for sub in subs]
        shared += [float(_leading(one, other) * session.block_tokens) for one, other in pairwise(firsts)]
    columns = np.array(rows, dtype=np.float64).reshape(-1, 11).T
    whole = [column.astype(np.int64) for column in columns[:7]]
    block_tokens = sessions[0].block_tokens if sessions else 1
    turns = Turns(
        session=whole[0],
        agent=whole[1],
        index=whole[2],
        at_s=columns[3],
        input=whole[4],
        output=whole[5],
        kept_tokens=whole[6],
        known_tokens=np.maximum(whole[6], np.array(known, dtype=np.int64) * block_tokens),
        gap_s=columns[7],
        think_s=columns[8],
        service_s=columns[9],
        is_human=columns[10] > 0,
    )
    tool, system = np.array(prefixes, dtype=np.int64).reshape(-1, 2).T
    common = float(np.median(shared)) if shared else 0.0
    return Observed(turns, tuple(children), np.array(starts_s), tool, system, block_tokens, common)


def _in_order(requests: object) -> list[RecordedRequest]:
    return sorted(requests, key=lambda request: request.t_s)  # type: ignore[call-overload,no-any-return]


def _agent_rows(
    session: int, agent: int, offset_s: float, requests: Sequence[RecordedRequest], block_tokens: int
) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    previous: RecordedRequest | None = None
    for index, request in enumerate(requests):
        kept, gap_s, is_human = 0, np.nan, False
        if previous is not None:
            kept = _leading(previous.hash_ids, request.hash_ids) * block_tokens
            if (
                kept // block_tokens >= len(previous.hash_ids)
                and request.input_tokens >= previous.input_tokens
            ):
                kept = previous.input_tokens
            gap_s = request.t_s - previous.t_s
            is_human = _is_human(request, gap_s)
        rows.append(
            (
                session,
                agent,
                index,
                offset_s + request.t_s,
                request.input_tokens,
                request.output_tokens,
                min(kept, request.input_tokens),
                gap_s,
                np.nan if request.think_s is None else request.think_s,
                np.nan if request.api_s is None else request.api_s,
                is_human,
            )
        )
        previous = request
    return rows


def _known_blocks(main: Sequence[RecordedRequest], subs: Sequence[RecordedSubagent]) -> list[int]:
    """Return, in the order of rows, with how many blocks that its session has sent a request starts.

    An id stands for all before it: those that are known are the first ones. Agents' first requests have none.
    """
    agents = [(0.0, list(main)), *((sub.t_s, _in_order(sub.requests)) for sub in subs)]
    sent = [(start_s + request.t_s, request) for start_s, of in agents for request in of]
    known = [0] * len(sent)
    seen: set[int] = set()
    for place in sorted(range(len(sent)), key=lambda place: sent[place][0]):
        ids = sent[place][1].hash_ids
        known[place] = bisect_left(ids, True, key=lambda id_: id_ not in seen)
        seen.update(ids[known[place] :])
    for first in np.cumsum([0, *(len(of) for _, of in agents[:-1])]).tolist():
        known[first] = 0
    return known


HUMAN_GAP_S = 60.0
"""Where a format does not say what opened a turn, a longer gap is taken for a person's."""


def _is_human(request: RecordedRequest, gap_s: float) -> bool:
    if request.input_types:
        return "tool_result" not in request.input_types
    return gap_s > HUMAN_GAP_S


def _leading(ours: Sequence[int], theirs: Sequence[int]) -> int:
    size = min(len(ours), len(theirs))
    differs = np.flatnonzero(np.asarray(ours[:size]) != np.asarray(theirs[:size]))
    return int(differs[0]) if len(differs) else size


def _child(
    session: int, agent: int, sub: RecordedSubagent, main: Sequence[RecordedRequest], start_s: float
) -> Child:
    before = sum(request.t_s <= sub.t_s for request in main)
    last = max(request.t_s + (request.api_s or 0.0) for request in sub.requests)
    end_s = sub.t_s + (last if sub.duration_s is None else sub.duration_s)
    joined = before < len(main) and end_s <= main[before].t_s
    delay_s = sub.t_s - (main[before - 1].t_s if before else start_s)
    return Child(session, agent, before - 1, delay_s, joined, sub.tool_tokens, sub.system_tokens)
