"""Captures: agents in the tree that entries tell, prompts put together from those before them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import TraceError
from swarm.workload.formats import open_format, pass_over
from swarm.workload.recorded import RecordedRequest, RecordedSession

ENTRY = {
    "schema": "swarm.capture.v1",
    "api": "chat",
    "status": 200,
    "outcome": "ok",
    "model": "m",
    "session": "",
    "parent": "",
    "kind": "",
    "opened_by": "human",
    "output_tokens": 7,
    "read_tokens": 0,
}


def entry(number: int, agent: str, **changes: Any) -> dict[str, Any]:
    own = {
        "number": number,
        "agent": agent,
        "start_s": 1e9 + 10 * number,
        "end_ms": 1000,
        "input_tokens": number,
    }
    return {**ENTRY, **own, **changes}


def read(path: Path, *entries: dict[str, Any] | str) -> tuple[list[RecordedSession], list[str], Any]:
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in entries))
    opened, errors = open_format("auto"), list[TraceError]()
    units = opened.units([path], pass_over)
    found = [session for unit in units for session in opened.read_unit(unit, errors.append)]
    return found, [error.reason for error in errors], opened.tallies["capture"]


def tree(sessions: list[RecordedSession]) -> dict[str, dict[str, list[int]]]:
    """Return by session and agent the inputs of its requests; the main agent has no name."""
    found: dict[str, dict[str, list[int]]] = {}
    for session in sessions:
        main = [each.input_tokens for each in session.entries if isinstance(each, RecordedRequest)]
        agents = {each.agent_id: [r.input_tokens for r in each.requests] for each in session.subagents()}
        found[session.id] = {"": main, **agents}
    return found


def test_sub_agents_of_sub_agents_are_of_the_session_of_the_first(tmp_path: Path) -> None:
    sessions, _, _ = read(
        tmp_path / "x.jsonl",
        entry(1, "a"),
        entry(2, "b", parent="a"),
        entry(3, "c", parent="b"),
        entry(4, "a"),
        entry(5, "d"),
    )
    assert tree(sessions) == {"a": {"": [1, 4], "b": [2], "c": [3]}, "d": {"": [5]}}


def test_agents_that_work_for_each_other_are_read(tmp_path: Path) -> None:
    sessions, _, _ = read(tmp_path / "x.jsonl", entry(1, "a", parent="b"), entry(2, "b", parent="a"))
    assert sum(len(list(session.requests())) for session in sessions) == 2


def test_the_main_agent_of_a_named_session_is_the_one_that_asks_most(tmp_path: Path) -> None:
    """Clients ask for a title, and do so first."""
    sessions, _, _ = read(
        tmp_path / "x.jsonl",
        entry(1, "title", session="s"),
        entry(2, "main", session="s"),
        entry(3, "sub", session="s", parent="main", kind="explorer"),
        entry(4, "sub", session="s", parent="main", kind="explorer"),
        entry(5, "sub", session="s", parent="main", kind="explorer"),
        entry(6, "main", session="s"),
    )
    assert tree(sessions) == {"s": {"": [2, 6], "title": [1], "sub": [3, 4, 5]}}
    assert {agent.kind for agent in sessions[0].subagents()} == {"explorer", "agent"}


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({}, True),
        ({"outcome": "refused", "input_tokens": None}, False),
        ({"outcome": "upstream_gone"}, False),
        ({"outcome": "client_gone", "output_tokens": None, "deltas": 3}, True),
        ({"outcome": "client_gone", "input_tokens": None}, False),
        ({"agent": ""}, False),
    ],
)
def test_requests_that_failed_are_named_and_left_out(
    tmp_path: Path, changes: dict[str, Any], is_read: bool
) -> None:
    sessions, errors, tally = read(tmp_path / "x.jsonl", entry(1, "a") | changes)
    assert (len(sessions), bool(tally.missing), errors) == (int(is_read), not is_read, [])
    if changes.get("deltas"):
        assert next(sessions[0].requests()).output_tokens == 3


def words(
    number: int, base: int | None, shared: int, hashes: str, size: int, **changes: Any
) -> dict[str, Any]:
    made = {"base": base, "shared": shared, "hashes": hashes, "content_bytes": size}
    return entry(number, "a", **{**made, "input_tokens": size, **changes})


ONE, TWO, THREE = "AQAAAAAAAAA=", "AgAAAAAAAAA=", "AwAAAAAAAAA="


def test_a_prompt_is_put_together_from_the_one_before_it(tmp_path: Path) -> None:
    (session,), errors, _ = read(
        tmp_path / "x.jsonl", words(1, None, 0, ONE, 64), words(2, 1, 1, TWO, 128), words(3, 2, 1, THREE, 128)
    )
    first, second, third = (list(request.hash_ids) for request in session.requests())
    assert errors == []
    assert first == second[:1] == third[:1]
    assert second[1] != third[1]


def test_a_prompt_whose_beginning_is_gone_has_no_words(tmp_path: Path) -> None:
    (session,), errors, tally = read(
        tmp_path / "x.jsonl", words(1, None, 0, ONE, 64), "{broken", words(3, 2, 2, THREE, 192)
    )
    assert len(errors) == 1
    assert tally.read["prompts whose words were hashed"] == 1
    assert len(list(session.requests())) == 2


@pytest.mark.parametrize("hashes", ["?", "AQ==", 7, TWO + TWO])
def test_hashes_that_cannot_be_are_named(tmp_path: Path, hashes: Any) -> None:
    sessions, errors, _ = read(tmp_path / "x.jsonl", words(1, None, 0, hashes, 64), entry(2, "b"))
    assert len(sessions) == 1
    assert errors[0].startswith("hashes")
