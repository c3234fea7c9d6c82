"""What is written stands where it was asked for when it is complete, and nothing else is touched."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.errors import UsageError
from swarm.workload.formats import read_sessions, write_sessions
from swarm.workload.formats.output import Names
from swarm.workload.recorded import RecordedSession
from tests.workload.formats.recorded import request, session

TARGETS = [
    ("weka", "out"),
    ("weka", "out.jsonl"),
    ("mooncake", "out.jsonl"),
    ("multi_turn", "out.jsonl.gz"),
    ("dag_jsonl", "out.jsonl"),
]
ONE = session(request(0.0, [1, 2]), request(9.0, [1, 2, 3]))


def tree(folder: Path) -> dict[str, bytes]:
    """Return all that a folder holds."""
    inside = sorted(folder.rglob("*"))
    return {str(each.relative_to(folder)): each.read_bytes() if each.is_file() else b"" for each in inside}


def failing(error: BaseException) -> Iterator[RecordedSession]:
    yield ONE
    raise error


@pytest.mark.parametrize(("format", "name"), TARGETS)
@pytest.mark.parametrize("error", [UsageError("stop"), KeyboardInterrupt(), MemoryError(), OSError("full")])
@pytest.mark.parametrize("place", ["", "new/folders"])
def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, format: str, name: str, error: BaseException, place: str
) -> None:
    (tmp_path / "mine.json").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(type(error)):
        write_sessions(failing(error), tmp_path / place / name, format)
    assert tree(tmp_path) == before


def test_a_folder_that_was_there_and_empty_is_left_so(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError):
        write_sessions(failing(UsageError("stop")), tmp_path / "out", "weka")
    assert tree(tmp_path) == {"out": b""}


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_folder_that_is_there_and_empty_is_filled(tmp_path: Path, is_linked: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real") if is_linked else (tmp_path / "out").mkdir()
    write_sessions([ONE], tmp_path / "out", "weka")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["one.json"]
    assert (tmp_path / "out").is_symlink() == is_linked


@pytest.mark.parametrize(("format", "name"), TARGETS)
def test_what_has_taken_the_place_meanwhile_stays(tmp_path: Path, format: str, name: str) -> None:
    dest = tmp_path / name

    def late() -> Iterator[RecordedSession]:
        yield ONE
        dest.write_text("mine")

    with pytest.raises(UsageError, match="exists; name a new file"):
        write_sessions(late(), dest, format)
    assert tree(tmp_path) == {name: b"mine"}


def test_files_that_came_into_an_empty_folder_stay(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()

    def late() -> Iterator[RecordedSession]:
        yield ONE
        (dest / "one.json").write_text("mine")

    with pytest.raises(UsageError, match="no longer empty"):
        write_sessions(late(), dest, "weka")
    assert tree(dest) == {"one.json": b"mine"}


@pytest.mark.parametrize(("format", "name"), TARGETS)
def test_a_file_that_has_the_name_of_what_is_being_written_is_not_touched(
    tmp_path: Path, format: str, name: str
) -> None:
    other = tmp_path / f".{name}.{os.getpid()}.partial"
    other.write_text("mine")
    with pytest.raises(FileExistsError):
        write_sessions([ONE], tmp_path / name, format)
    assert tree(tmp_path) == {other.name: b"mine"}


def test_a_link_that_leads_nowhere_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="exists"):
        write_sessions([ONE], tmp_path / "out.jsonl", "mooncake")


def test_a_file_is_not_written_over_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a folder; name a file, such as .*sessions.jsonl"):
        write_sessions([ONE], tmp_path, "mooncake")


def test_a_conversion_under_way_is_no_trace(tmp_path: Path) -> None:
    (tmp_path / ".out.1.partial").mkdir()
    for path in (tmp_path / ".out.1.partial" / "a.json", tmp_path / "b.json"):
        path.write_text(json.dumps({"id": path.stem, "block_size": 16, "requests": []}))
    assert [each.id for each in read_sessions(tmp_path, "weka")] == ["b"]


@pytest.mark.parametrize(("format", "name"), TARGETS)
def test_a_source_that_breaks_or_holds_nothing_leaves_no_target(
    tmp_path: Path, format: str, name: str
) -> None:
    good = {"id": "a", "block_size": 16, "requests": [{"t": 0, "type": "s", "in": 16, "out": 1}]}
    for source, lines in (("broken.jsonl", [good, {"id": "b"}]), ("empty.jsonl", [])):
        (tmp_path / source).write_text("".join(json.dumps(line) + "\n" for line in lines))
        before = tree(tmp_path)
        arguments = [str(tmp_path / source), str(tmp_path / name), "--from", "weka", "--to", format]
        assert CliRunner().invoke(app, ["convert", *arguments]).exit_code != 0
        assert tree(tmp_path) == before


def test_what_is_being_written_is_not_taken_for_a_part_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"id": "a", "block_size": 16, "requests": []}))
    for name in ("out", "out.jsonl"):
        arguments = [str(tmp_path), str(tmp_path / "new" / name), "--from", "weka", "--to", "weka"]
        result = CliRunner().invoke(app, ["convert", *arguments])
        assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "ids", [("a", "a", "a-2"), ("a-2", "a", "a"), ("a", "A", "a-2", "a_2", "a"), ("/", "!")]
)
def test_each_session_has_a_file_of_its_own_whatever_the_ids(tmp_path: Path, ids: tuple[str, ...]) -> None:
    write_sessions([replace(ONE, id=each) for each in ids], tmp_path / "out", "weka")
    assert sorted(each.id for each in read_sessions(tmp_path / "out", "weka")) == sorted(ids)


def test_many_sessions_of_one_id_are_named_in_no_time() -> None:
    names = Names()
    assert len({names.name("a") for _ in range(200_000)}) == 200_000


def test_files_that_were_moved_before_a_failure_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    link, linked = os.link, []

    def linking(file: Path, name: Path) -> None:
        if linked:
            raise KeyboardInterrupt
        linked.append(name)
        link(file, name)

    monkeypatch.setattr(os, "link", linking)
    with pytest.raises(KeyboardInterrupt):
        write_sessions([ONE, replace(ONE, id="two")], dest, "weka")
    assert linked and tree(tmp_path) == {"out": b""}


@pytest.mark.parametrize(("format", "name"), TARGETS)
def test_a_file_that_takes_the_name_at_the_last_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, name: str
) -> None:
    dest = tmp_path / name
    names = [dest / "one.json", dest] if name == "out" else [dest]
    if name == "out":
        dest.mkdir()
    link = os.link

    def late(file: Path, name: Path) -> None:
        names[0].write_text("mine")
        link(file, name)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(UsageError, match="exists; name a new file"):
        write_sessions([ONE], dest, format)
    assert names[0].read_text() == "mine" and len(list(tmp_path.rglob("*"))) == len(names)


def test_where_there_are_no_hard_links_files_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: Path, name: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "there").mkdir()
    for format, name in (*TARGETS, ("weka", "there")):
        write_sessions([ONE], tmp_path / name if name == "there" else tmp_path / format / name, format)
    written = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) == len(TARGETS) + 1 and not any(name.endswith(".partial") for name in written)


def test_the_longest_names_of_files_are_written(tmp_path: Path) -> None:
    write_sessions([ONE], tmp_path / ("a" * 255), "mooncake")
    assert len(list(tmp_path.iterdir())) == 1
