"""Codex's logs: threads once, whatever files they are in; reads that follow from a cache of blocks."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from swarm.workload.formats import fail, open_format, pass_over
from swarm.workload.formats.agent_logs import identity
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.recorded import RecordedSession

BLOCK = 128
BEGUN_S = 1_772_359_200.0
COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens")


class Log:
    """A rollout that is being written."""

    def __init__(self, thread: str, at_s: float = BEGUN_S, **meta: Any) -> None:
        self.at_s = at_s
        self.sums = dict.fromkeys((*COUNTS, "total_tokens"), 0)
        self.lines = [self.line("session_meta", {"id": thread, "cwd": "/p", **meta})]
        self.lines.append(self.line("turn_context", {"model": "m"}))

    def line(self, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
        return {"timestamp": self.at_s, "type": kind, "payload": payload}

    def add(
        self, counts: Iterable[int], wait_s: float = 1.0, opened_by: str = "function_call_output"
    ) -> None:
        self.at_s += wait_s
        kind = "event_msg" if opened_by == "user_message" else "response_item"
        self.lines.append(self.line(kind, {"type": opened_by}))
        self.at_s += 2.0
        for name, count in zip(COUNTS, counts, strict=True):
            self.sums[name] += count
            self.sums["total_tokens"] += count if name != "cached_input_tokens" else 0
        info = {"total_token_usage": dict(self.sums)}
        self.lines += [self.line("event_msg", {"type": "token_count", "info": info})] * 2

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(json.dumps, self.lines)))
        return path


def read(path: Path) -> tuple[list[RecordedSession], Tally]:
    opened = open_format("auto")
    units = opened.units(opened.files([path], pass_over), pass_over)
    return [s for unit in units for s in opened.read_unit(unit, fail)], opened.tallies["codex"]


def inputs(sessions: list[RecordedSession]) -> dict[str, list[int]]:
    return {session.id: [each.input_tokens for each in session.requests()] for session in sessions}


def two(thread: str, **meta: Any) -> Log:
    log = Log(thread, **meta)
    log.add((1000, 0, 50))
    log.add((1200, 1024, 60))
    return log


def test_a_thread_that_is_in_two_files_is_one(tmp_path: Path) -> None:
    two("s").write(tmp_path / "a" / "rollout-1.jsonl")
    longer = two("s")
    longer.add((1400, 1152, 70))
    longer.write(tmp_path / "b" / "rollout-2.jsonl")
    found, tally = read(tmp_path)
    assert inputs(found) == {"s": [1000, 1200, 1400]}
    assert tally.read["requests that another log has already"] == 2


def test_a_fork_does_not_count_what_it_repeats(tmp_path: Path) -> None:
    """Its lines are the origin's, written anew at its begin."""
    two("s").write(tmp_path / "rollout-1.jsonl")
    fork = two("f", at_s=BEGUN_S + 900, forked_from_id="s")
    fork.lines = [{**line, "timestamp": BEGUN_S + 900.1} for line in fork.lines]
    fork.lines[0]["timestamp"] = BEGUN_S + 900
    fork.at_s = BEGUN_S + 930
    fork.add((1400, 1152, 70))
    fork.write(tmp_path / "rollout-2.jsonl")
    found, tally = read(tmp_path)
    assert inputs(found) == {"s": [1000, 1200], "f": [1400]}
    assert tally.read["requests of a parent or an origin that a log repeats"] == 2


def simulated(seed: int, requests: int, tail: int = 0) -> tuple[Log, Counter[str], list[int]]:
    """Return a log of a provider that caches blocks, and how often it fell short, and why.

    Now and then another server answers, the newest blocks are not there yet, or a person waits beyond the TTL
    or has a part of the prompt dropped. `tail`: tokens at a reply's end that it does not keep.
    """
    chance, log, causes = random.Random(seed), Log("s"), Counter[str]()
    total, shared = 0, 3_456
    length = 9_000
    lengths = []
    for number in range(requests):
        opened_by, wait_s, cached = "function_call_output", 1.0, max(0, total - tail) // BLOCK * BLOCK
        case = chance.random() if number else 1.0
        if case < 0.08:
            opened_by, length = "user_message", length - 900
            cached = shared
            causes[identity.CHANGED] += 1
        elif case < 0.20:
            cached = shared
            causes[identity.ROUTED] += 1
        elif case < 0.28:
            cached -= chance.randint(1, 8) * BLOCK
            causes[identity.NEAR] += 1
        elif case < 0.32:
            cached, wait_s = shared, 400.0
            causes[identity.EXPIRED] += 1
        elif number:
            causes[identity.EXACT] += 1
        output = chance.randint(20, 400)
        log.add((length, cached, output), wait_s, opened_by)
        lengths.append(length)
        total = length + output
        length = total + chance.randint(40, 900)
    return log, causes, lengths


def test_reads_follow_from_a_cache_of_blocks_and_misses_have_their_causes(tmp_path: Path) -> None:
    log, causes, lengths = simulated(1, 300)
    (session,), tally = read(log.write(tmp_path / "rollout-1.jsonl"))
    assert {why: tally.inferred[why] for why in causes} == dict(causes)
    assert tally.share is not None and tally.share >= 0.60
    ids = [list(request.hash_ids) for request in session.requests()]
    held = [length // BLOCK * BLOCK // session.block_tokens for length in lengths]
    kept = sum(
        before[:count] == after[:count] for (before, after), count in zip(pairwise(ids), held, strict=False)
    )
    # Ids go on through every miss but where content had changed.
    assert kept == len(lengths) - 1 - causes[identity.CHANGED]


@pytest.mark.parametrize("tail", [1, 26, 60, 127])
def test_the_end_of_a_reply_that_no_cache_keeps_is_learned_from_the_reads_before(
    tmp_path: Path, tail: int
) -> None:
    log, _, _ = simulated(1, 300, tail)
    _, tally = read(log.write(tmp_path / "rollout-1.jsonl"))
    assert tally.share is not None and tally.share >= 0.60


@pytest.mark.parametrize("tail", [0, 60])
def test_shuffled_reads_of_codex_follow_from_nothing(tmp_path: Path, tail: int) -> None:
    log, _, _ = simulated(1, 300, tail)
    (session,), _ = read(log.write(tmp_path / "rollout-1.jsonl"))
    rows = [(r.input_tokens, r.read_tokens or 0, r.output_tokens) for r in session.requests()]
    reads = [row[1] for row in rows]
    random.Random(2).shuffle(reads)
    again = Log("s")
    for (length, _, output), cached in zip(rows, reads, strict=True):
        again.add((length, min(cached, length), output))
    _, tally = read(again.write(tmp_path / "again" / "rollout-2.jsonl"))
    assert tally.share is not None and tally.share < 0.05
