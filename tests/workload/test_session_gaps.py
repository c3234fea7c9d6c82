"""Gaps of whole sessions, cut: held against a walk from one request to the next."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from swarm.config.workload import ReplayConfig
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from swarm.workload.session_gaps import with_gaps_cut
from swarm.workload.source import load_scripts

CAP_S = 10.0


def request(t_s: float, think_s: float | None = None) -> RecordedRequest:
    return RecordedRequest(t_s, "m", True, 64, 10, [1], ("tool_result",), ("text",), None, 1.0, think_s, None)


def session(*entries: RecordedRequest | RecordedSubagent) -> RecordedSession:
    return RecordedSession("a", "a.json", "a", 64, 0, 0, ("m",), entries)


def subagent(t_s: float, *requests: RecordedRequest, duration_s: float | None = None) -> RecordedSubagent:
    return RecordedSubagent(t_s, "x", "explore", duration_s, 0, 0, requests)


def starts_s(played: RecordedSession) -> list[float]:
    """Return when each request starts, in file order."""
    found: list[float] = []
    for entry in played.entries:
        if isinstance(entry, RecordedRequest):
            found.append(entry.t_s)
        else:
            found += [entry.t_s + each.t_s for each in entry.requests]
    return found


def drawn(seed: int) -> RecordedSession:
    chance = random.Random(seed)
    entries: list[RecordedRequest | RecordedSubagent] = []
    at_s = 0.0
    for _ in range(12):
        entries.append(request(at_s))
        if chance.random() < 0.4:
            inside, inside_s = [], 0.0
            for _ in range(chance.randint(1, 5)):
                inside.append(request(inside_s))
                inside_s += chance.expovariate(1 / 15)
            entries.append(subagent(at_s + chance.uniform(0, 5), *inside, duration_s=inside_s))
        at_s += chance.expovariate(1 / 20)
    return session(*entries)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_starts_are_further_apart_than_the_cap(seed: int) -> None:
    whole = drawn(seed)
    before = starts_s(whole)
    after = starts_s(with_gaps_cut(whole, CAP_S))
    order = sorted(range(len(before)), key=before.__getitem__)
    expected = [before[order[0]]]
    for earlier, later in pairwise(order):
        expected.append(expected[-1] + min(CAP_S, before[later] - before[earlier]))
    assert [after[index] for index in order] == pytest.approx(expected)


def test_think_times_lose_what_is_cut_between_their_requests() -> None:
    whole = session(request(0.0), request(101.0, 100.0), request(105.0, 3.0))
    thinks_s = [entry.think_s for entry in with_gaps_cut(whole, CAP_S).requests()]
    assert thinks_s == [None, 9.0, 3.0]


def test_a_parents_long_wait_stays_while_its_subagent_asks() -> None:
    busy = subagent(5.0, *(request(9.0 * index) for index in range(20)), duration_s=172.0)
    whole = session(request(0.0), busy, request(180.0, 179.0))
    assert with_gaps_cut(whole, CAP_S) == whole


def test_a_subagent_ends_within_the_gap_that_is_cut() -> None:
    cut = with_gaps_cut(
        session(request(0.0), subagent(4.0, request(0.0), duration_s=60.0), request(90.0)), CAP_S
    )
    only = next(cut.subagents())
    assert (only.t_s, only.end_s, starts_s(cut)[-1]) == (4.0, 14.0, 14.0)


def test_a_session_without_long_gaps_is_as_it_was() -> None:
    whole = drawn(1)
    assert with_gaps_cut(whole, 1e6) == whole


def test_a_replay_is_read_with_its_gaps_cut(tmp_path: Path) -> None:
    rows = ",".join(
        f'{{"t": {t}, "type": "s", "model": "m", "in": 64, "out": 5, "hash_ids": [1], "api_time": 1.0, '
        f'"think_time": {think}}}'
        for t, think in ((0, 0), (500, 499), (505, 4))
    )
    head = '"id": "a", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 0'
    (tmp_path / "a.json").write_text(f'{{{head}, "system_tokens": 0, "requests": [{rows}]}}')
    config = ReplayConfig(path=tmp_path, format="weka", session_idle_cap_s=60.0)
    turns = load_scripts(config, 1, 1).scripts[0].agents[0].turns
    assert [(turn.gap_s, turn.think_s) for turn in turns[1:]] == [(60.0, 59.0), (5.0, 4.0)]
