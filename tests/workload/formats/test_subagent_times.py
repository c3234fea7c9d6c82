"""Times of sub-agents' requests: from their own start, or from their session's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import TraceError
from swarm.workload.formats import read_sessions, write_sessions
from swarm.workload.recorded import RecordedSession
from tests.workload.formats.recorded import request, session, subagent


def asked(t_s: float) -> dict[str, Any]:
    return {"t": t_s, "type": "s", "in": 64, "out": 5, "hash_ids": [1]}


def agent(t_s: float, *requests: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"t": t_s, "type": "subagent", "requests": list(requests), **more}


def read(path: Path, entries: list[dict[str, Any]], format: str = "weka", **more: Any) -> RecordedSession:
    path.write_text(json.dumps({"id": "a", "block_size": 64, "requests": entries, **more}))
    (recorded,) = read_sessions(path, format)
    return recorded


def times(recorded: RecordedSession) -> list[tuple[float, list[float]]]:
    return [(each.t_s, [asked.t_s for asked in each.requests]) for each in recorded.subagents()]


RELATIVE = [asked(0), agent(40, asked(0), asked(7), agent(5, asked(0))), agent(90, asked(0), asked(120))]
ABSOLUTE = [asked(0), agent(40, asked(40), asked(47), agent(45, asked(45))), agent(90, asked(90), asked(210))]
RIGHT = [(40.0, [0.0, 7.0]), (45.0, [0.0]), (90.0, [0.0, 120.0])]


@pytest.mark.parametrize("entries", [RELATIVE, ABSOLUTE])
def test_both_dialects_are_told_by_their_times(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    assert times(read(tmp_path / "a.json", entries)) == RIGHT


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # Rounded to whole seconds, a request may stand before its sub-agent's start.
        ([agent(40.7, asked(40), asked(43))], [(40.7, [0.0, pytest.approx(2.3)])]),
        # One that is far before it shows that all count from their own starts.
        ([agent(40, asked(45)), agent(50, asked(0))], [(40.0, [45.0]), (50.0, [0.0])]),
    ],
)
def test_a_sessions_times_are_weighed_together(
    tmp_path: Path, entries: list[dict[str, Any]], expected: list[Any]
) -> None:
    assert times(read(tmp_path / "a.json", [asked(0), *entries])) == expected


def test_what_is_stated_goes_before_what_looks_plausible(tmp_path: Path) -> None:
    entries = [asked(0), agent(40, asked(45))]
    path = tmp_path / "a.json"
    assert times(read(path, entries)) == [(40.0, [5.0])]
    assert times(read(path, entries, "weka:subagent_times=relative")) == [(40.0, [45.0])]
    assert times(read(path, entries, subagent_times="relative")) == [(40.0, [45.0])]
    assert times(read(path, entries, "weka:subagent_times=absolute", subagent_times="relative")) == [
        (40.0, [5.0])
    ]
    with pytest.raises(TraceError, match="subagent_times: must be 'relative' or 'absolute', got 'both'"):
        read(path, entries, subagent_times="both")


def test_a_sub_agent_that_idles_first_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = session(request(0.0, [1]), subagent(40.0, request(45.0, [1, 2]), request(46.0, [1, 2, 3])))
    write_sessions([one], tmp_path / "out", "weka")
    (again,) = read_sessions(tmp_path / "out", "weka")
    assert times(again) == times(one)
