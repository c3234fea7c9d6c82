"""A file of a folder whose content is of no format is a broken part: it is never left out unsaid."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from swarm.errors import TraceError
from swarm.workload.formats import open_format, pass_over, read_sessions

SESSION = {
    "id": "a",
    "block_size": 64,
    "requests": [{"t": 0, "type": "n", "in": 128, "out": 1, "hash_ids": [1, 2]}],
}
LOG = '{"type": "session_meta", "timestamp": "2026-01-01T00:00:00Z", "payload": {"id": "s"}}\n'


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


def test_unknown_files_are_named_whether_their_paths_are_from_the_root_or_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened, told = open_format("auto"), list[tuple[str, list[str]]]()
    files = [Path("a.json"), Path("c.json"), tmp_path / "c.json"]
    opened.units(
        files,
        lambda place, others: told.append((str(place), [str(each.relative_to(place)) for each in others])),
    )
    assert told == [(".", ["c.json"]), (str(tmp_path), ["c.json"])]


def test_a_part_is_of_logs_by_its_own_file(folder: Path) -> None:
    (folder / "log.jsonl").write_text(LOG)
    opened = open_format("auto")
    opened.units(opened.files([folder], pass_over), pass_over)
    found = {name: opened.is_of_logs(str(folder / name)) for name in ("a.json", "c.json", "log.jsonl")}
    assert found == {"a.json": False, "c.json": True, "log.jsonl": True}
