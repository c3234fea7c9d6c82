"""Recorded sessions played live: every request's ideal hit, against a count of the recording's own blocks.

The count uses nothing of the project but the rows that the run wrote: which request was sent when.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from swarms import driven, experiment

BLOCK_TOKENS = 64
REQUESTS_MOST = 25
SESSIONS = 8


def agents_of(trace: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the requests of each agent of a recording, the orchestrator's first."""
    own = [entry for entry in trace["requests"] if entry["type"] != "subagent"]
    subagents = [entry["requests"] for entry in trace["requests"] if entry["type"] == "subagent"]
    return [own, *(requests for requests in subagents if requests)]


def recorded(rows: list[dict[str, Any]], traces: list[dict[str, Any]]) -> list[tuple[int, list[int]]]:
    """Return the recording and the block ids behind each row; prompts' lengths tell which agent it is."""
    lengths: dict[str, dict[int, int]] = {}
    for row in rows:
        lengths.setdefault(row["agent"], {})[row["turn"]] = row["planned_prompt_tokens"]
    agents: dict[tuple[int, ...], tuple[int, list[dict[str, Any]]]] = {}
    for at, trace in enumerate(traces):
        for requests in agents_of(trace):
            assert agents.setdefault(tuple(one["in"] for one in requests), (at, requests))[0] == at
    found = []
    for row in rows:
        turns = lengths[row["agent"]]
        at, requests = agents[tuple(turns[turn] for turn in range(len(turns)))]
        found.append((at, requests[row["turn"]]["hash_ids"]))
    return found


def ideal_tokens(rows: list[dict[str, Any]], traces: list[dict[str, Any]]) -> list[int]:
    """Return each row's ideal hit: the leading run of its blocks that an earlier send of its session had."""
    seen: dict[int, set[int]] = {}
    found = []
    for at, ids in recorded(rows, traces):
        known = seen.setdefault(at, set())
        hits = next((place for place, one in enumerate(ids) if one not in known), len(ids))
        known.update(ids)
        found.append(hits * BLOCK_TOKENS)
    return found


def small(traces: Path, folder: Path) -> list[dict[str, Any]]:
    """Put some short recordings into a folder, those with sub-agents first; return them in its order."""
    folder.mkdir()
    chosen: list[tuple[bool, str, dict[str, Any]]] = []
    for path in sorted(traces.glob("*.json")):
        trace = json.loads(path.read_bytes())
        if trace["block_size"] == BLOCK_TOKENS and 3 < sum(map(len, agents_of(trace))) <= REQUESTS_MOST:
            has_subagents = len(agents_of(trace)) > 1
            chosen.append((not has_subagents, path.name, trace))
    chosen = sorted(chosen, key=lambda each: each[:2])[:SESSIONS]
    for _, name, trace in chosen:
        (folder / name).write_text(json.dumps(trace))
    return [trace for _, _, trace in sorted(chosen, key=lambda each: each[1])]


@pytest.mark.slow
def test_ideal_hits_are_those_of_the_recordings_blocks(shared_data: Path, tmp_path: Path) -> None:
    traces = small(shared_data / "agent-traces", tmp_path / "traces")
    config = experiment(
        workload={
            "kind": "replay",
            "path": str(tmp_path / "traces"),
            "format": "weka",
            "time_scale": 0.001,
            "idle_cap_s": 0.01,
            "replies": "planned",
        },
        load={"agents": len(traces), "duration_s": None, "drain_s": 1},
        hosts={"count": 1},
        fleet={
            "block_tokens": BLOCK_TOKENS,
            "cost": {
                "kind": "simple",
                "prefill_tokens_per_s": 1e9,
                "decode_base_s": 1e-5,
                "kv_capacity_tokens": 1_000_000_000,
            },
        },
    )
    rows = driven(config, tmp_path / "journal").results().rows.to_pylist()
    rows.sort(key=lambda row: row["sent_s"])
    assert all(row["outcome"] == "ok" for row in rows)
    assert len(rows) == sum(len(each) for trace in traces for each in agents_of(trace))
    expected = ideal_tokens(rows, traces)
    assert [row["ideal_tokens"] for row in rows] == expected
    assert 0 < sum(expected) < sum(row["prompt_tokens"] for row in rows)
    # What the server reports is what its own tokenizer and block cache made of the text that it was sent.
    assert [row["prompt_tokens"] for row in rows] == [row["planned_prompt_tokens"] for row in rows]
