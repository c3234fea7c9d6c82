"""What is written is read again, in each format as far as it goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarm.commands.convert import convert
from swarm.errors import UsageError
from swarm.workload.formats import read_sessions, write_sessions
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent
from tests.workload.formats.recorded import request, session, subagent

SESSIONS = [
    session(
        request(0.0, [1, 2], 3),
        subagent(2.0, request(0.0, [7]), request(1.5, [7, 8], 15, streaming=False)),
        request(20.25, [1, 2, 3], 1, think_s=4.5, ttft_s=0.25, stop="end_turn"),
        request(30.0, [1, 4]),
    ),
    session(
        request(0.5, [1, 2, 3]), request(1.0, []), id="two", source="two.json", namespace="local/two.json"
    ),
]


def plain(entry: RecordedRequest) -> RecordedRequest:
    return replace(entry, hash_ids=tuple(entry.hash_ids))


def of_weka(recorded: RecordedSession) -> RecordedSession:
    """Return what the format holds of a session: all but where it came from."""
    entries = [
        plain(entry)
        if isinstance(entry, RecordedRequest)
        else replace(entry, requests=tuple(map(plain, entry.requests)))
        for entry in recorded.entries
    ]
    return replace(recorded, source="", namespace="", entries=tuple(entries))


@pytest.mark.parametrize("name", ["folder", "file.jsonl", "file.jsonl.gz"])
def test_agent_traces_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    write_sessions(SESSIONS, tmp_path / name, "weka")
    assert list(map(of_weka, read_sessions(tmp_path / name, "weka"))) == list(map(of_weka, SESSIONS))


def prefixes(sessions: list[RecordedSession]) -> list[tuple[float, int, int, int]]:
    """Return each request with the number of whole blocks that it shares with those before it."""
    rows = []
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for recorded in sessions:
        for entry in recorded.entries:
            start_s = entry.t_s if isinstance(entry, RecordedSubagent) else 0.0
            for each in entry.requests if isinstance(entry, RecordedSubagent) else (entry,):
                ids = tuple(each.hash_ids)[: each.input_tokens // recorded.block_tokens]
                paths = [(recorded.namespace, ids[:end]) for end in range(1, len(ids) + 1)]
                rows.append(
                    (start_s + each.t_s, each.input_tokens, each.output_tokens, sum(p in seen for p in paths))
                )
                seen.update(paths)
    return sorted(rows)


@pytest.mark.parametrize("name", ["file.jsonl", "file.jsonl.gz"])
def test_mooncake_keeps_times_sizes_and_shared_prefixes(tmp_path: Path, name: str) -> None:
    write_sessions(SESSIONS, tmp_path / name, "mooncake")
    read = list(read_sessions(tmp_path / name, "mooncake:block_tokens=16,rows=cumulative"))
    assert prefixes(read) == prefixes(SESSIONS)


def test_mooncake_is_the_same_bytes_when_written_again(tmp_path: Path) -> None:
    write_sessions(SESSIONS, tmp_path / "a.jsonl", "mooncake")
    again = read_sessions(tmp_path / "a.jsonl", "mooncake:block_tokens=16,rows=cumulative")
    write_sessions(again, tmp_path / "b.jsonl", "mooncake")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_blocks_of_a_multiple_keep_the_prefixes_of_whole_blocks(tmp_path: Path) -> None:
    recorded = [
        session(request(0, [1, 2, 3, 4, 5]), request(1, [1, 2, 3, 4, 6, 7]), request(2, [1, 2, 9, 4]))
    ]
    write_sessions(recorded, tmp_path / "a.jsonl", "mooncake:block_tokens=32")
    read = next(read_sessions(tmp_path / "a.jsonl", "mooncake:block_tokens=32,rows=cumulative"))
    assert [list(each.hash_ids) for each in read.requests()] == [[0, 1, 2], [0, 1, 3], [0, 1]]


def test_a_block_size_that_is_no_multiple_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot become blocks of 24"):
        write_sessions(SESSIONS, tmp_path / "a.jsonl", "mooncake:block_tokens=24")


def test_blocks_of_two_sizes_are_no_mooncake_file(tmp_path: Path) -> None:
    other = session(request(0.0, [1], input_tokens=64), id="b", source="b.json", block_tokens=64)
    with pytest.raises(UsageError, match=r"b.json: blocks of 64 tokens, and sessions before it have 16"):
        write_sessions([SESSIONS[0], other], tmp_path / "a.jsonl", "mooncake")
    assert write_sessions([SESSIONS[0], other], tmp_path / "b.jsonl", "mooncake:block_tokens=64")[0] == 2


def test_losses_are_counted_by_kind(tmp_path: Path) -> None:
    _, losses = write_sessions(SESSIONS, tmp_path / "a.jsonl", "mooncake")
    assert "1 x sub-agent made a session of its own, without its parent" in losses.lines()


def test_an_existing_destination_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        write_sessions(SESSIONS, tmp_path / "a.jsonl", "mooncake")


def test_a_conversion_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def broken():
        yield SESSIONS[0]
        raise UsageError("stop")

    with pytest.raises(UsageError):
        write_sessions(broken(), tmp_path / "a.jsonl", "mooncake")
    assert list(tmp_path.iterdir()) == []


def written(tmp_path: Path, entries: list[dict[str, Any]], *steps: tuple[str, str, str]) -> list[Any]:
    """Convert a session of agent traces by steps (from, to, file name); return the last one's lines."""
    path = tmp_path / "first.json"
    path.write_text(json.dumps({"id": "a", "block_size": 64, "requests": entries}))
    for source, target, name in steps:
        assert convert(path, tmp_path / name, from_format=source, to_format=target, on_broken="fail") == 0
        path = tmp_path / name
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_conversation_that_grew_is_one_after_mooncake(tmp_path: Path) -> None:
    grown = [
        {"t": 9.0 * k, "type": "s", "in": tokens, "out": 5, "hash_ids": list(range(tokens // 64))}
        for k, tokens in enumerate(range(100, 850, 150))
    ]
    again = ("mooncake:block_tokens=64,rows=cumulative", "multi_turn", "t.jsonl")
    lines = written(tmp_path, grown, ("weka", "mooncake", "m.jsonl"), again)
    assert [len(line["turns"]) for line in lines] == [5]


def test_blocks_without_names_have_one_each_in_mooncake(tmp_path: Path) -> None:
    (line,) = written(tmp_path, [{"t": 0, "type": "s", "in": 200, "out": 5}], ("weka", "mooncake", "m.jsonl"))
    assert len(set(line["hash_ids"])) == 4


def test_a_turn_that_waited_for_a_sub_agent_waits_once_in_a_dag(tmp_path: Path) -> None:
    def asked(t_s: float, tokens: int, first: int) -> dict[str, Any]:
        ids = list(range(first, first + tokens // 64))
        return {"t": t_s, "type": "s", "in": tokens, "out": 5, "hash_ids": ids, "api_time": 0.0}

    sub = {"t": 5, "type": "subagent", "agent_id": "x", "subagent_type": "e", "status": "completed",
           "duration_ms": 80_000, "tool_tokens": 0, "system_tokens": 0,
           "requests": [asked(0, 64, 50), asked(80, 192, 50)]}  # fmt: skip
    steps = (("weka", "dag_jsonl", "d.jsonl"), ("dag_jsonl:block_tokens=64", "weka", "w.jsonl"))
    (line,) = written(tmp_path, [asked(0, 128, 0), sub, asked(100, 256, 0)], *steps)
    assert [row["t"] for row in line["requests"] if row["type"] == "s"] == pytest.approx([0, 100], abs=0.01)


def test_names_that_writers_make_are_nobody_elses(tmp_path: Path) -> None:
    pulled_back = (request(0.0, [1, 2, 3]), request(9.0, [1, 4]))
    sessions = [session(*pulled_back, id="a"), session(request(0.0, [9]), id="a~1")]
    for target, read_as in (
        ("dag_jsonl", "dag_jsonl:block_tokens=16"),
        ("multi_turn", "multi_turn:block_tokens=16"),
    ):
        write_sessions(sessions, tmp_path / f"{target}.jsonl", target)
        again = list(read_sessions(tmp_path / f"{target}.jsonl", read_as))
        asked = sum(each.input_tokens for one in again for each in one.requests())
        assert asked == sum(each.input_tokens for one in sessions for each in one.requests())


def test_ids_of_two_files_stay_apart_where_a_format_has_one_namespace(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        row = {"timestamp": 0, "input_length": 1024, "output_length": 1, "hash_ids": [0, 1]}
        (tmp_path / "in" / f"{name}.jsonl").write_text(json.dumps(row))
    assert (
        convert(tmp_path / "in", tmp_path / "out", from_format="mooncake", to_format="weka", on_broken="fail")
        == 0
    )
    first, second = (next(iter(one.requests())).hash_ids for one in read_sessions(tmp_path / "out", "weka"))
    assert list(first) == [0, 1] and not set(first) & set(second)


def test_epochs_in_milliseconds_are_times(tmp_path: Path) -> None:
    row = {"timestamp": 1_732_700_000_000, "input_length": 512, "output_length": 1, "hash_ids": [0]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (one,) = read_sessions(tmp_path / "a.jsonl", "mooncake")
    assert [each.t_s for each in one.requests()] == [1_732_700_000.0]


PROMPT = ({"input_tokens": 2_000_000_000}, "a prompt of 2000000000 tokens, more than the 16777216")
REPLY = ({"output_tokens": 2_000_000_000}, "a reply of 2000000000 tokens, more than the 16777216")
NAMELESS = ({"input_tokens": 2_000_000_000}, "124999999 blocks without an id, more than the 1048576")


@pytest.mark.parametrize(
    ("target", "long"),
    [
        ("multi_turn", PROMPT),
        ("multi_turn", REPLY),
        ("dag_jsonl", PROMPT),
        ("dag_jsonl", REPLY),
        ("mooncake", NAMELESS),
    ],
)
def test_a_length_that_cannot_be_laid_out_is_named(
    tmp_path: Path, target: str, long: tuple[dict[str, int], str]
) -> None:
    sizes, reason = long
    recorded = session(request(0.0, [1]), request(7.5, [1], **sizes), source="long.json")
    with pytest.raises(UsageError, match=f"long.json: session one, the request at 7.5 s has {reason}"):
        write_sessions([recorded], tmp_path / "a.jsonl", target)
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_bounded_in_bytes_as_well(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than the 262144 of a text"):
        long = session(request(0.0, [1], input_tokens=262_145))
        write_sessions([long], tmp_path / "a.jsonl", "multi_turn:bytes_per_token=1024")


def test_lengths_alone_are_written_however_long(tmp_path: Path) -> None:
    long = session(request(0.0, [1], input_tokens=2_000_000_000, output_tokens=2_000_000_000))
    write_sessions([long], tmp_path / "a.jsonl", "weka")
    (read,) = read_sessions(tmp_path / "a.jsonl", "weka")
    assert [(r.input_tokens, r.output_tokens) for r in read.requests()] == [(2_000_000_000, 2_000_000_000)]
