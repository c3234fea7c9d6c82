"""Seconds and milliseconds told apart, by what is stated or by what is plausible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import UsageError
from swarm.workload.formats import read_sessions, write_sessions
from tests.workload.formats.recorded import request, session


def rows(path: Path, times: list[Any], **more: Any) -> Path:
    """Write a request for each time, of one block of 512 tokens."""
    path.write_text(
        "".join(
            json.dumps({"timestamp": at, "input_length": 512, "output_length": 1, "hash_ids": [k], **more})
            + "\n"
            for k, at in enumerate(times)
        )
    )
    return path


def starts_s(path: Path, format: str) -> list[float]:
    return [each.t_s for recorded in read_sessions(path, format) for each in recorded.requests()]


@pytest.mark.parametrize(
    ("times", "format", "expected"),
    [
        ([0, 3000, 3000, 9000], "mooncake", [0, 3, 3, 9]),
        ([0.0, 1500.5, 3000.25], "mooncake", [0, 1.5005, 3.00025]),
        ([5, 5, 5], "mooncake", [0.005, 0.005, 0.005]),
        ([12.5], "mooncake", [0.0125]),
        ([0.0, 2.5, 61.0], "mooncake:time_unit=s", [0, 2.5, 61]),
        ([0, 2, 61], "mooncake:time_unit=s", [0, 2, 61]),
        ([0.0, 2.5, 61.0], "mooncake:time_unit=ms", [0, 0.0025, 0.061]),
        ([1760995776.25, 1760995778.5], "mooncake:time_unit=s", [1760995776.25, 1760995778.5]),
    ],
)
def test_times_are_in_the_unit_that_is_stated_or_plausible(
    tmp_path: Path, times: list[Any], format: str, expected: list[float]
) -> None:
    assert starts_s(rows(tmp_path / "a.jsonl", times), format) == pytest.approx(expected)


@pytest.mark.parametrize(
    "times", [[0.0, 10.0, 20.0], [0.0, 0.31, 0.74], [1760995776.25, 1760995777.5], [0, *range(9), 4]]
)
def test_times_that_may_be_seconds_are_not_taken_for_milliseconds(tmp_path: Path, times: list[Any]) -> None:
    path = rows(tmp_path / "a.jsonl", times)
    with pytest.raises(UsageError, match="state their unit as mooncake:time_unit=s or time_unit=ms"):
        list(read_sessions(path, "mooncake"))


def test_rows_of_forking_chats_are_in_seconds_and_each_is_a_session(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.jsonl", [0.0, 10.0, 20.5], chat_id=3, parent_chat_id=-1, turn=1)
    assert starts_s(path, "mooncake") == [0, 10, 20.5]
    assert len(list(read_sessions(path, "mooncake"))) == 3
    assert starts_s(path, "mooncake:time_unit=ms") == [0, 0.01, 0.0205]


def test_what_is_written_says_when_its_unit_must_be_stated(tmp_path: Path) -> None:
    close = session(request(0.0, [1]), request(0.0305, [1, 2]))
    _, losses = write_sessions([close], tmp_path / "a.jsonl", "mooncake")
    assert "1 x unit of times: read it with time_unit=ms" in losses.lines()
    assert starts_s(tmp_path / "a.jsonl", "mooncake:block_tokens=16,rows=cumulative,time_unit=ms") == [
        0.0,
        0.0305,
    ]
    apart = session(request(0.0, [1]), request(30.0005, [1, 2]))
    _, losses = write_sessions([apart], tmp_path / "b.jsonl", "mooncake")
    assert not any("unit of times" in line for line in losses.lines())
    assert starts_s(tmp_path / "b.jsonl", "mooncake:block_tokens=16,rows=cumulative") == [0.0, 30.0005]
