"""A file of a folder whose content is of no format is a broken part: it is never left out unsaid."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from swarm.errors import TraceError
from swarm.workload.formats import read_sessions

SESSION = {
    "id": "a",
    "block_size": 64,
    "requests": [{"t": 0, "type": "n", "in": 128, "out": 1, "hash_ids": [1, 2]}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_bytes(orjson.dumps(SESSION))
    (tmp_path / "b.json").write_text("{ not")
    (tmp_path / "c.json").write_text('{"another": "thing"}')
    return tmp_path


@pytest.mark.parametrize("format", ["auto", "weka"])
def test_it_ends_the_reading(folder: Path, format: str) -> None:
    with pytest.raises(TraceError, match=r"b\.json"):
        list(read_sessions(folder, format))


@pytest.mark.parametrize("format", ["auto", "weka"])
def test_it_is_told_where_broken_parts_are_left_out(folder: Path, format: str) -> None:
    told: list[TraceError] = []
    assert [session.id for session in read_sessions(folder, format, told.append)] == ["a"]
    assert {Path(error.path).name for error in told} == {"b.json", "c.json"}
