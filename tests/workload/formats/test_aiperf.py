"""The files that aiperf takes, as its documentation shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import TraceError, UsageError
from swarm.workload.formats import read_sessions, write_sessions
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from tests.workload.formats.recorded import request, session, subagent

BLOCK = 16
"""Tokens of a block; a token is four bytes."""


def words(tokens: int, letter: str = "a") -> str:
    return letter * (4 * tokens)


def lines(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def said(tokens: int, letter: str = "a", role: str = "user") -> dict[str, str]:
    return {"role": role, "content": words(tokens, letter)}


def one(path: Path, format: str) -> RecordedSession:
    (found,) = read_sessions(path, format)
    return found


def shared(first: RecordedRequest, second: RecordedRequest) -> int:
    """Return how many leading blocks two requests share."""
    pairs = list(zip(first.hash_ids, second.hash_ids, strict=False))
    return next((n for n, (ours, theirs) in enumerate(pairs) if ours != theirs), len(pairs))


def test_a_turn_sends_all_turns_before_it_and_their_replies(tmp_path: Path) -> None:
    turns = [
        {"text": words(40), "output_length": 8},
        {"texts": [words(10, "b")], "delay": 1500, "output_length": 4},
    ]
    found = one(lines(tmp_path / "a.jsonl", {"session_id": "s", "turns": turns}), "multi_turn")
    assert [(r.t_s, r.input_tokens, r.output_tokens) for r in found.requests()] == [(0, 40, 8), (1.5, 58, 4)]


def test_a_leading_system_turn_is_no_request(tmp_path: Path) -> None:
    turns = [{"role": "system", "text": words(20)}, {"text": words(12)}]
    found = one(lines(tmp_path / "a.jsonl", {"session_id": "s", "turns": turns}), "multi_turn")
    assert [r.input_tokens for r in found.requests()] == [32]


def test_conversations_with_one_system_prompt_share_its_blocks(tmp_path: Path) -> None:
    rows = [
        {"turns": [{"role": "system", "text": words(3 * BLOCK)}, {"text": words(40, letter)}]}
        for letter in "xy"
    ]
    first, second = read_sessions(lines(tmp_path / "a.jsonl", *rows), "multi_turn")
    assert shared(next(first.requests()), next(second.requests())) == 3


@pytest.mark.parametrize(
    ("format", "row"),
    [
        ("multi_turn", {"turns": [{"text": words(40)}]}),
        ("dag_jsonl", {"session_id": "s", "turns": [{"messages": [{"role": "user", "content": words(40)}]}]}),
        ("mooncake:block_tokens=16", {"text_input": words(40), "timestamp": 0}),
    ],
)
def test_equal_texts_of_two_files_share_nothing(tmp_path: Path, format: str, row: dict[str, Any]) -> None:
    for name in ("a", "b"):
        lines(tmp_path / f"{name}.jsonl", row)
    first, second = read_sessions(tmp_path, format)
    assert first.shares_ids and second.shares_ids and first.namespace != second.namespace


def test_an_image_is_refused_because_its_tokens_are_unknown(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"turns": [{"text": "hello", "image": "cat.png"}]})
    with pytest.raises(TraceError, match=r"line 1: turns\[0\]: image: is no text"):
        list(read_sessions(path, "multi_turn"))


def test_what_multi_turn_holds_of_a_growing_session_comes_back(tmp_path: Path) -> None:
    grown = session(
        request(0.0, [1, 2], 3, output_tokens=5),
        request(9.0, [1, 2, 3], 9, think_s=4.0, output_tokens=6),
    )
    write_sessions([grown], tmp_path / "a.jsonl", "multi_turn")
    found = one(tmp_path / "a.jsonl", "multi_turn")
    assert [(r.input_tokens, r.output_tokens, r.think_s) for r in found.requests()] == [
        (35, 5, None),
        (57, 6, 4.0),
    ]


def test_a_context_that_lost_something_goes_on_as_another_conversation(tmp_path: Path) -> None:
    cut = session(request(0.0, [1, 2, 3], 3), request(9.0, [1, 9], 9))
    _, losses = write_sessions([cut], tmp_path / "a.jsonl", "multi_turn")
    found = list(read_sessions(tmp_path / "a.jsonl", "multi_turn"))
    assert [f.id for f in found] == ["one", "one~1"]
    assert any("lost something" in line for line in losses.lines())
    assert shared(next(found[0].requests()), next(found[1].requests())) == 1


def test_formats_that_are_only_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is read, not written"):
        write_sessions([], tmp_path / "a.jsonl", "inputs_json")


DAG = [
    {
        "session_id": "root",
        "turns": [
            {"messages": [said(32)], "max_tokens": 8, "forks": [{"child": "fork", "background": True}]},
            {"messages": [said(8, "b")], "delay": 2000, "spawns": ["fresh"]},
            {"messages": [said(8, "c")], "delay": 1000},
        ],
    },
    {"session_id": "fork", "turns": [{"messages": [said(16, "f")], "delay": 500}]},
    {
        "session_id": "fresh",
        "turns": [{"messages": [said(4, "g")], "delay": 3000}, {"messages": [said(4)], "delay": 4000}],
    },
]


def test_a_dag_becomes_a_session_with_its_branches_as_subagents(tmp_path: Path) -> None:
    found = one(lines(tmp_path / "a.jsonl", *DAG), "dag_jsonl")
    children = [entry for entry in found.entries if isinstance(entry, RecordedSubagent)]
    assert [(c.agent_id, c.t_s, c.duration_s) for c in children] == [("fork", 0.0, 0.5), ("fresh", 2.0, 7.0)]


def test_a_parent_waits_for_its_spawns_before_the_turn_that_joins_them(tmp_path: Path) -> None:
    found = one(lines(tmp_path / "a.jsonl", *DAG), "dag_jsonl")
    main = [entry for entry in found.entries if isinstance(entry, RecordedRequest)]
    assert [(r.t_s, r.input_tokens) for r in main] == [(0.0, 32), (2.0, 48), (10.0, 56)]


def test_a_fork_shares_its_parents_context_and_a_spawn_does_not(tmp_path: Path) -> None:
    found = one(lines(tmp_path / "a.jsonl", *DAG), "dag_jsonl")
    main = [entry for entry in found.entries if isinstance(entry, RecordedRequest)]
    fork, fresh = (e.requests[0] for e in found.entries if isinstance(e, RecordedSubagent))
    assert (fork.input_tokens, shared(main[0], fork), shared(main[0], fresh)) == (56, 2, 0)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"session_id": "a", "turns": [{"messages": [said(1)], "spawns": ["b"]}]}], "does not hold"),
        ([{"session_id": "a", "turns": []}], "turns: is empty"),
        (
            [
                {"session_id": "a", "turns": [{"messages": [said(1)], "spawns": ["b"]}]},
                {"session_id": "b", "turns": [{"messages": [said(1)], "spawns": ["a"]}]},
            ],
            "a cycle",
        ),
        ([DAG[1], DAG[1]], "stands once in the file"),
    ],
)
def test_a_dag_that_cannot_be_played_is_refused(tmp_path: Path, rows: list[Any], reason: str) -> None:
    with pytest.raises(TraceError, match=reason):
        list(read_sessions(lines(tmp_path / "a.jsonl", *rows), "dag_jsonl"))


def test_rounds_of_an_orchestrator_follow_one_another(tmp_path: Path) -> None:
    spine = {"session_id": "o", "orchestrator": True, "spawns": ["fresh"], "rounds": 2, "think_time_ms": 1000}
    found = one(lines(tmp_path / "a.jsonl", spine, DAG[2]), "dag_jsonl")
    assert [entry.t_s for entry in found.entries] == [1.0, 9.0]


BRANCHING = session(
    subagent(1.0, request(0.0, [20], 4)),
    request(2.0, [1, 2], 3),
    subagent(5.0, request(0.5, [30]), request(3.0, [30, 31], 9)),
    request(20.0, [1, 2, 3], 9, think_s=3.0),
    subagent(25.0, request(0.0, [40])),
    request(28.0, [1, 2, 3, 4], 15, think_s=4.0),
    request(60.0, [1, 9], 9, think_s=5.0),
)
"""A sub-agent before the first request, one that is joined, one that nobody waits for; a cut context."""


def written_dag(path: Path) -> dict[str, dict[str, Any]]:
    write_sessions([BRANCHING], path, "dag_jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["session_id"]: row for row in rows}


def test_a_dag_starts_and_joins_subagents_where_they_were_recorded(tmp_path: Path) -> None:
    rows = written_dag(tmp_path / "a.jsonl")
    spawns = {name: [turn.get("spawns") for turn in row["turns"]] for name, row in rows.items()}
    assert rows["one"]["pre_session_spawns"] == ["one/1"]
    assert spawns == {
        "one": [[{"children": ["one/2"], "join_at": 1}], None, ["one~1", "one/3"]],
        "one~1": [None],
        "one/1": [None],
        "one/2": [None, None],
        "one/3": [None],
    }


def test_a_dag_keeps_waits_from_the_end_of_what_came_before(tmp_path: Path) -> None:
    rows = written_dag(tmp_path / "a.jsonl")
    delays = {name: [turn["delay"] / 1000 for turn in row["turns"]] for name, row in rows.items()}
    # Requests take 1.5 s: the joined one starts 5 + 0.5 - (2 + 1.5) after its parent's turn.
    assert delays == {
        "one": [2.0, 3.0, 4.0],
        "one~1": [5.0],
        "one/1": [1.0],
        "one/2": [2.0, 1.0],
        "one/3": [0.0],
    }


def test_a_written_dag_is_read_with_its_sizes_and_shared_prefixes(tmp_path: Path) -> None:
    written_dag(tmp_path / "a.jsonl")
    found = one(tmp_path / "a.jsonl", "dag_jsonl")
    main = [entry for entry in found.entries if isinstance(entry, RecordedRequest)]
    others = {e.agent_id: e.requests for e in found.entries if isinstance(e, RecordedSubagent)}
    sizes = {name: [(r.input_tokens, r.output_tokens) for r in requests] for name, requests in others.items()}
    assert [(r.input_tokens, r.output_tokens) for r in main] == [(35, 5), (57, 5), (79, 5), (41, 5)]
    assert sizes == {
        "one/1": [(20, 5)],
        "one/2": [(16, 5), (41, 5)],
        "one/3": [(16, 5)],
    }
    assert shared(main[0], main[3]) == 1


def test_a_session_of_subagents_alone_becomes_an_orchestrator(tmp_path: Path) -> None:
    write_sessions([session(subagent(1.0, request(0.0, [20], 4)))], tmp_path / "a.jsonl", "dag_jsonl")
    found = one(tmp_path / "a.jsonl", "dag_jsonl")
    assert [
        [r.input_tokens for r in e.requests] for e in found.entries if isinstance(e, RecordedSubagent)
    ] == [[20]]


def test_a_session_is_read_when_its_last_line_is(tmp_path: Path) -> None:
    rows = [{"session_id": name, "turns": [{"text": words(4)}]} for name in "abacbc"]
    path = lines(tmp_path / "a.jsonl", *rows)
    with path.open("a") as file:
        file.write("broken\n")
    sessions = read_sessions(path, "multi_turn")
    found = [next(sessions) for _ in range(3)]
    assert [(each.id, len(list(each.requests()))) for each in found] == [("a", 2), ("b", 2), ("c", 2)]


@pytest.mark.parametrize("format", ["multi_turn", "dag_jsonl"])
def test_sessions_of_one_id_stay_apart(tmp_path: Path, format: str) -> None:
    write_sessions([session(request(0.0, [1], 3))] * 2, tmp_path / "a.jsonl", format)
    assert [found.id for found in read_sessions(tmp_path / "a.jsonl", format)] == ["one", "one#2"]


def test_request_bodies_share_what_their_messages_share(tmp_path: Path) -> None:
    bodies = [
        {"model": "m", "messages": [said(32)], "max_tokens": 9},
        {"model": "m", "messages": [said(32), said(9, "r", "assistant"), said(20, "b")]},
    ]
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps({"data": [{"session_id": "s", "payloads": bodies}]}))
    first, second = one(path, "inputs_json").requests()
    assert (first.input_tokens, first.output_tokens, second.input_tokens, shared(first, second)) == (
        32,
        9,
        61,
        2,
    )


@pytest.mark.parametrize(
    "row",
    [{"text_input": words(40)}, {"messages": [said(40)]}, {"payload": {"prompt": words(40)}}],
)
def test_a_mooncake_row_may_hold_words(tmp_path: Path, row: dict[str, Any]) -> None:
    found = one(lines(tmp_path / "a.jsonl", row | {"timestamp": 2000}), "mooncake:block_tokens=16")
    assert [(r.t_s, r.input_tokens, len(r.hash_ids)) for r in found.requests()] == [(2.0, 40, 2)]


def test_rows_that_do_not_say_what_they_hold_are_refused(tmp_path: Path) -> None:
    row = {"session_id": "s", "input_length": 10}
    with pytest.raises(TraceError, match="rows=cumulative or rows=delta"):
        list(read_sessions(lines(tmp_path / "a.jsonl", row, row), "mooncake"))


def test_delta_rows_add_up_with_their_replies(tmp_path: Path) -> None:
    rows = [{"session_id": "s", "input_length": 20, "output_length": 5, "delay": 100}] * 3
    found = one(lines(tmp_path / "a.jsonl", *rows), "mooncake:rows=delta")
    assert [r.input_tokens for r in found.requests()] == [20, 45, 70]
